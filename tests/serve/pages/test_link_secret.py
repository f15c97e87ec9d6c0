from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit.serve.pages.link_secret import link_secret


def test_without_a_file_each_is_fresh():
    assert len(link_secret("")) == 32
    assert link_secret("") != link_secret("")


def test_a_file_is_made_once_and_is_its_owners_alone(tmp_path: Path):
    file = tmp_path / "link.secret"
    secret = link_secret(str(file))
    assert len(secret) == 64
    assert link_secret(str(file)) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["link.secret"]


def test_those_that_begin_together_get_the_same(tmp_path: Path):
    file = str(tmp_path / "link.secret")
    with ThreadPoolExecutor(16) as starters:
        assert len(set(starters.map(link_secret, [file] * 64))) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_too_little_is_no_secret(tmp_path: Path):
    (tmp_path / "short").write_bytes(b"  0123456789abcde\n")
    with pytest.raises(ConfigError, match="holds 15 bytes"):
        link_secret(str(tmp_path / "short"))


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="link_secret_file = '.*none/secret' cannot be read or made"):
        link_secret(str(tmp_path / "none" / "secret"))
    with pytest.raises(ConfigError, match="cannot be read"):
        link_secret(str(tmp_path))
