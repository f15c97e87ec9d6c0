from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.corpus import Corpus
from ragkit.indexers.embed_steps import EmbedSteps
from ragkit.indexers.index_report import IndexProgress
from ragkit.progress import index_progress
from ragkit.records import TextRecord
from tests.fakes import HashEmbedder


def test_steps_grow_while_they_are_short_and_shrink_where_they_are_long() -> None:
    steps, sizes = EmbedSteps(), []
    for seconds in (0.1, 1.4, 2.0, 0.1, 0.1, 5.0, 5.0, 5.0, 5.0):
        steps.took(seconds, steps.size)
        sizes.append(steps.size)
    assert sizes == [64, 128, 128, 256, 256, 128, 64, 32, 32]


def test_a_short_step_that_was_cut_off_changes_nothing() -> None:
    steps = EmbedSteps()
    steps.took(0.1, 3)
    assert steps.size == 32


def test_progress_goes_on_while_passages_are_embedded(tmp_path: Path) -> None:
    seen: list[IndexProgress] = []
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add([TextRecord(f"d{i}", f"tide {i}") for i in range(100)], progress=seen.append)
    embedded = [(step.passages_done, step.passages_pending) for step in seen if step.stage == "embed"]
    assert embedded == [(0, 100), (32, 68), (96, 4), (100, 0)]


def test_the_line_of_the_command_counts_passages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragkit.progress._SECONDS_BETWEEN_LINES", -1.0)
    with index_progress() as show:
        show(IndexProgress("embed", "a.pdf", 0, 2, 114, 120, 190))
    assert capsys.readouterr().err == "embed a.pdf: 0/2 documents, 114 pages read, 120 of 310 passages embedded\n"
