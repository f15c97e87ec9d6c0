"""A corpus is specialised without labels: all steps, the judgement, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError
from ragkit.records import TextRecord
from ragkit.retrievers.training.extracted_questions import ExtractedKind
from ragkit.retrievers.training.train_encoder import EncoderTraining
from ragkit.training import specialise as module
from ragkit.training.held_out import HeldOutChange
from ragkit.training.mine_negatives import MiningPlan
from ragkit.training.question_plan import QuestionPlan
from ragkit.training.specialise import SpecialisePlan, SpecialiseReport, specialise
from tests.fakes import HashEmbedder
from tests.retrievers.training.tiny_text_model import WORDS, make_tiny_model

PLAN = SpecialisePlan(
    QuestionPlan((ExtractedKind.terms, ExtractedKind.sentences)),
    MiningPlan(list_length=4),
    EncoderTraining(learning_rate=5e-3, epochs=2, batch_size=12),
)
BETTER, WORSE = HeldOutChange(4, 24, 0.2, 0.6, 0.1, 0.7, 0.03), HeldOutChange(4, 24, 0.6, 0.5, -0.3, 0.1, 0.6)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    model = make_tiny_model(tmp_path / "base")
    embedder = {"name": str(model), "device": "cpu", "dtype": "float32"}
    return parse_config({"embedder": embedder, "lexical": {"language": "none"}})


@pytest.fixture
def folder(tmp_path: Path, config: Config) -> Path:
    """Passages of eight words each."""
    records = [
        TextRecord(f"d{n}", " ".join(WORDS[(n * step) % 40] for step in (1, 3, 7, 9, 11, 13, 17, 19)) + ".")
        for n in range(24)
    ]
    with Corpus.open(tmp_path / "corpus", config=config) as corpus:
        corpus.add(records)
    return tmp_path / "corpus"


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[HeldOutChange], None]:
    """Training is real; what the held-out questions say is given."""

    def judge(change: HeldOutChange) -> None:
        real = module.run_encoder_training

        def with_change(*given: Any) -> Any:
            return replace(real(*given), change=change)

        monkeypatch.setattr(module, "run_encoder_training", with_change)

    return judge


def run(folder: Path, config: Config, plan: SpecialisePlan = PLAN) -> SpecialiseReport:
    return specialise(folder, plan, config, folder.with_name("out"), lambda _: None, lambda *_: None)


def in_use(folder: Path, config: Config) -> str:
    with Corpus.open(folder, config=config, create=False) as corpus:
        assert corpus.embedder is not None
        assert corpus.search(f"{WORDS[3]} {WORDS[9]}")
        return corpus.embedder.fingerprint


def test_a_better_model_is_taken_into_use_and_back_is_one_call(
    folder: Path, config: Config, judged: Callable[[HeldOutChange], None]
) -> None:
    judged(BETTER)
    before = in_use(folder, config)
    report = run(folder, config)
    assert report.switched is not None
    assert (report.switched.num_passages, report.switched.num_embedded) == (24, 24)
    assert "ragkit train back" in report.verdict
    assert report.mining.num_lists > 10
    assert report.encoder.outcome.steps > 0
    # A configuration that names the embedder of before would be refused now.
    unnamed = config.model_copy(update={"embedder": Config().embedder})
    again = run(folder, unnamed)
    assert again.encoder.outcome == report.encoder.outcome
    assert again.switched is not None
    assert (again.switched.num_embedded, again.verdict) == (0, report.verdict)
    bare = Config()
    after = in_use(folder, bare)
    assert after != before
    with Corpus.open(folder, create=False) as corpus:
        corpus.switch_back()
    assert in_use(folder, bare) == before


def test_a_model_that_is_not_better_changes_nothing(
    folder: Path, config: Config, judged: Callable[[HeldOutChange], None]
) -> None:
    judged(WORSE)
    before = in_use(folder, config)
    report = run(folder, config)
    assert report.switched is None
    assert "keeps" in report.verdict
    assert "-0.1000 [-0.3000, +0.1000] on 4 questions" in report.verdict
    assert in_use(folder, config) == before
    assert report.to_json()["accepted"] is False


def test_a_dry_run_only_reports_and_the_next_run_repeats_nothing(
    folder: Path, config: Config, judged: Callable[[HeldOutChange], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(BETTER)
    before = in_use(folder, config)
    report = run(folder, config, replace(PLAN, accepts=False))
    assert report.switched is None
    assert f"ragkit train accept {report.encoder.model} --corpus {folder}" in report.verdict
    assert in_use(folder, config) == before
    weights = (report.encoder.model / "model.safetensors").stat().st_mtime_ns
    again = run(folder, config)
    assert again.encoder.outcome == report.encoder.outcome
    assert (report.encoder.model / "model.safetensors").stat().st_mtime_ns == weights
    assert again.switched is not None


def test_an_embedder_that_cannot_be_trained_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.assemble.make_embedder", lambda _: HashEmbedder())
    with Corpus.open(tmp_path / "corpus") as corpus:
        corpus.add([TextRecord("a", "some words to find")])
    with pytest.raises(ConfigError, match="embedded by HashEmbedder, which is not a sentence-transformers model"):
        run(tmp_path / "corpus", Config())
