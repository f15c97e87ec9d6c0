from __future__ import annotations

import hashlib
import logging
import re
import stat
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit.serve.guards.api_keys import ApiKeys, add_key, make_key
from ragkit.serve.guards.caller import Caller
from ragkit.serve.guards.exposure import check_exposure
from ragkit.serve_config import ServeConfig


def test_a_key_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    one, other = add_key(file, "team-a", ["papers", 'a "quoted"\\ name\n']), add_key(file, "boss")
    assert re.fullmatch(r"rk-[\w-]{43}", one.key)
    assert one.key not in file.read_text()
    assert hashlib.sha256(one.key.encode()).hexdigest() in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = ApiKeys(file)
    assert keys.caller(one.key) == Caller("team-a", frozenset({"papers", 'a "quoted"\\ name\n'}))
    assert keys.caller(other.key) == Caller("boss", None)
    for wrong in ("", "rk-", one.key[:-1], one.key.lower(), other.key + " ", "ключ", "\ud800"):
        assert keys.caller(wrong) is None
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]


def test_what_the_file_says_counts_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys.toml"
    first = add_key(file, "first")
    keys = ApiKeys(file)
    second = add_key(file, "second")
    assert keys.caller(second.key) is not None
    file.write_text(file.read_text() + "[[key")
    assert keys.caller(first.key) is not None
    assert "the API keys from before stay" in caplog.text
    file.write_text(second.entry)
    assert keys.caller(first.key) is None
    assert keys.caller(second.key) is not None
    caplog.set_level(logging.ERROR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no \\[\\[key\\]\\]"),
        ("[[key]]\nname = 'a'", "sha256: Field required"),
        ("[[key]]\nname = 'a'\nsha256 = 'rk-secret'", "sha256: String should match"),
        (f"[[key]]\nname = 'a b'\nsha256 = '{'0' * 64}'", "name: String should match"),
        (
            f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\ncorpus = ['x']",
            "unknown field 'key.0.corpus'; did you mean 'corpora'",
        ),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\n" * 2, "several keys have the name 'a'"),
        ("key = 1", "key: "),
        ("[", "is not valid TOML"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "keys.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        ApiKeys(tmp_path / "keys.toml")
    assert "rk-secret" not in str(caught.value)


def test_a_missing_file_and_a_bad_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file of API keys"):
        ApiKeys(tmp_path / "keys.toml")
    with pytest.raises(ConfigError, match="name: String should match"):
        make_key('"\nsha256 = "')
    with pytest.raises(ConfigError, match="cannot add a key"):
        add_key(tmp_path / "no" / "keys.toml", "a")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_this_machine_needs_no_keys(host: str) -> None:
    check_exposure(host, ServeConfig(), False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "ask.example.org", ""])
def test_other_machines_need_keys_or_a_word(host: str) -> None:
    with pytest.raises(ConfigError, match="--no-keys"):
        check_exposure(host, ServeConfig(), False)
    check_exposure(host, ServeConfig(), True)
    check_exposure(host, ServeConfig(api_keys_file="keys.toml"), False)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    path = tmp_path / "my keys.toml"
    with pytest.raises(ConfigError) as caught:
        ApiKeys(path)
    assert str(caught.value) == f"there is no file of API keys {path}; make one: ragkit key NAME --file '{path}'"
