"""`ragkit train lol`: what reaches the training, and what a mistake says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.errors import DataError
from ragkit.retrievers.training.lol_loss import LolSettings
from ragkit.retrievers.training.training_loop import Outcome
from ragkit.training import lol_run
from ragkit.training.lol_judge import DepthFigures
from ragkit.training.lol_run import LolReport, LolRun


def test_options_reach_the_training_and_figures_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def run(plan: LolRun, out: Path, *_: Any) -> LolReport:
        runs.append(plan)
        figures = DepthFigures((0.5,) * 6, (1.25,) * 6, (0.75,) * 6, 0.125)
        return LolReport(
            out / "model", Outcome(9, 3, 12, 3, 2, 1.5, 1.25, 60.0, 100.0), 0.02, {"a:train": figures}
        )

    monkeypatch.setattr(lol_run, "run_lol_training", run)
    words = "train lol --data a --data b:dev --comparative 0 --scale 5 --margin 0.1 --detach --revisions 3 --free"
    shown = CliRunner().invoke(app, [*words.split(), "--out", str(tmp_path)], env={"COLUMNS": "160"})
    assert shown.exit_code == 0, shown.output
    assert (runs[0].data, runs[0].is_free, runs[0].training.revisions) == (("a", "b:dev"), True, 3)
    assert runs[0].training.loss == LolSettings(0.0, 0.1, detach=True, scale=5.0)
    assert (runs[0].kind, runs[0].training.learning_rate) == ("vector", 0.001)
    sparse = [*words.split()[:-1], "--reformulator", "sparse"]
    CliRunner().invoke(app, [*sparse, "--out", str(tmp_path)])
    assert (runs[1].kind, runs[1].training.learning_rate, runs[1].passage_tokens) == ("sparse", 2e-5, 128)
    CliRunner().invoke(app, ["train", "lol", "--data", "a", "--reformulator", "sparse", "--out", str(tmp_path)])
    CliRunner().invoke(app, ["train", "lol", "--data", "a", "--out", str(tmp_path)])
    CliRunner().invoke(app, ["train", "lol", "--data", "a", "--reformulator", "dense", "--out", str(tmp_path)])
    assert [run.training.loss.scale for run in runs[2:]] == [1.0, 50.0, 50.0]
    assert runs[4].training.learning_rate == 5e-5
    for text in ("0.5000", "0.7500", "1.2500", "12.5% of losses grow", "best after epoch 2 of 3"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--reformulator dense --free", "counts only with --reformulator vector"),
        ("--passage-tokens 64", "counts only with --reformulator dense or --reformulator sparse"),
        ("--piece-tokens 64", "counts only with --reformulator dense or --reformulator sparse"),
        ("--scale 0", "0 makes all passages equal"),
    ],
)
def test_options_that_would_not_count_are_refused(tmp_path: Path, words: str, said: str) -> None:
    given = ["train", "lol", "--data", "a", "--out", str(tmp_path), *words.split()]
    result = CliRunner().invoke(app, given, env={"COLUMNS": "160"})
    assert result.exit_code == 2
    assert said in result.output


def test_a_model_that_no_epoch_made_better_is_named_as_such() -> None:
    figures = DepthFigures((0.5,) * 6, (1.25,) * 6, (0.5,) * 6, 0.0)
    outcome = Outcome(9, 3, 12, 4, 0, 1.25, 1.25, 60.0, 100.0)
    table = LolReport(Path("model"), outcome, 0.0, {"a:train": figures}).table()
    assert str(table.caption).startswith("no epoch of 4 lowered the held-out loss: this is the untrained model")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["train", "lol", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    )
    assert isinstance(result.exception, DataError)
    assert "none has no corpus.jsonl" in str(result.exception)
