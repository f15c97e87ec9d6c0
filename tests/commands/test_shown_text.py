"""What commands print is shown as it is: names and messages may hold what rich would read as markup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.commands.shared import show_report
from ragkit.indexers.index_report import IndexProgress
from ragkit.progress import index_progress

HOSTILE = "[/x] :cat: [red]"


@dataclass
class Named:
    """A report that shows a name in every part of a table."""

    name: str = HOSTILE

    def to_json(self) -> object:
        return self.name

    def table(self) -> Table:
        table = Table(f"head {self.name}", title=f"title {self.name}", caption=f"caption {self.name}")
        table.add_row(f"cell {self.name}")
        return table


def test_a_report_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]):
    show_report(Named(), as_json=False)
    shown = capsys.readouterr().out
    assert all(f"{part} {HOSTILE}" in shown for part in ("head", "title", "caption", "cell"))


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("ragkit.evaluations.speed.tradeoff.measure_tradeoff", ["tradeoff", "--data", ".", "--out", "run"]),
        ("ragkit.evaluations.speed.load_check.measure_load", ["load"]),
        ("ragkit.evaluations.speed.index_speed.measure_index_speed", ["speed", "--scale", "1000"]),
    ],
)
def test_what_a_command_tells_meanwhile_is_shown_as_it_is(
    monkeypatch, tmp_path: Path, work: str, words: list[str]
):
    def tell_and_report(*arguments: object) -> Named:
        arguments[-1](f"told {HOSTILE}")  # type: ignore[operator]
        return Named("report")

    monkeypatch.setattr(work, tell_and_report)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["eval", *words])
    assert done.exit_code == 0, done.output
    assert f"told {HOSTILE}" in done.stderr


def test_the_bar_shows_a_document_as_it_is_called(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with index_progress() as show:
        show(IndexProgress("read", HOSTILE, 0, 1, 0, 0, 0))
    assert f"read {HOSTILE}" in capsys.readouterr().err
