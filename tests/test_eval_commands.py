from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.errors import DataError


@pytest.mark.parametrize(("command", "option"), [("tradeoff", "--plot"), ("context", "--curve-out")])
def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, command: str, option: str) -> None:
    words = ["eval", command, "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    words += ["--positions", "all"] if command == "context" else []
    with pytest.raises(DataError, match="cannot write .*: Is a directory"):
        CliRunner().invoke(app, [*words, option, str(tmp_path)], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_folders_are_not_there_yet_is_none_of_these(tmp_path: Path) -> None:
    words = ["eval", "tradeoff", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    with pytest.raises(DataError, match=r"none has no corpus\.jsonl"):
        CliRunner().invoke(app, [*words, "--plot", str(tmp_path / "a" / "b" / "c.svg")], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []
