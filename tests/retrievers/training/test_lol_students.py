"""Reformulators that read texts, in training: what is asked for stands only in what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.devices import Placement
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.records import Passage
from ragkit.retrievers.feedback.feedback_sequences import SequenceLimits
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder
from ragkit.retrievers.feedback.term_reformulator import TermReformulator
from ragkit.retrievers.feedback.text_reformulator import TextReformulator
from ragkit.retrievers.training.lol_loss import LolSettings
from ragkit.retrievers.training.lol_students import Asked, FeedbackQuery, FeedbackSet, TermStudent, TextStudent
from ragkit.retrievers.training.term_matrix import term_matrix
from ragkit.retrievers.training.train_lol import LolTraining, train_lol
from ragkit.training.lol_judge import held_out_loss, score_depths
from tests.retrievers.training.tiny_text_model import WORDS, make_tiny_model

CPU = Placement("cpu", "float32")
SCALES = {"dense": 10.0, "sparse": 3.0}
Student = TextStudent | TermStudent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def terms_of(text: str) -> Counter[str]:
    return Counter(text.split())


def words_of(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(word, (word,)) for word in text.split()]


def world(folder: Path, num_queries: int = 20) -> FeedbackSet:
    """Query i is word i; what it found has word i beside word i + 20, and what is relevant has the latter."""
    found = [f"{WORDS[i]} {WORDS[i + 20]}" for i in range(num_queries)]
    relevant = [f"{WORDS[i + 20]} {WORDS[i + 20]}" for i in range(num_queries)]
    texts = (*found, *relevant)
    embedder = TextEmbedder(str(folder), CPU)
    passages = embedder.embed_passages([Passage(i, "d", 1, 0, 1, text) for i, text in enumerate(texts)])
    vectors = embedder.embed_queries(WORDS[:num_queries])
    queries = tuple(
        FeedbackQuery(WORDS[i], vectors[i], (i, (i + 7) % num_queries), (num_queries + i,))
        for i in range(num_queries)
    )
    return FeedbackSet(passages, texts, queries, term_matrix([terms_of(text) for text in texts], 1.2, 0.75))


def student(folder: Path, kind: str) -> Student:
    encoder = SequenceEncoder(folder, CPU, SequenceLimits(query=4, passage=4, total=20, least=3))
    if kind == "dense":
        return TextStudent(TextReformulator(encoder, "abc", "cosine", 2))
    return TermStudent(TermReformulator(encoder, "none", 2), words_of)


def settings(kind: str, epochs: int, piece_tokens: int = 4096) -> LolTraining:
    loss = LolSettings(scale=SCALES[kind])
    return LolTraining(
        loss, epochs=epochs, batch_size=8, learning_rate=0.01, patience=50, piece_tokens=piece_tokens
    )


def trained(folder: Path, out: Path, kind: str, epochs: int, piece_tokens: int = 4096) -> Student:
    one, model = world(folder), student(folder, kind)

    def judge(_: object, sets: Sequence[FeedbackSet]) -> float:
        return held_out_loss(model, sets, SCALES[kind])

    train_lol([one], [one], model, settings(kind, epochs, piece_tokens), out, judge)
    return model


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_what_was_found_lowers_the_loss_and_no_feedback_changes_nothing(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    one = world(folder)
    before = score_depths(student(folder, kind), one, SCALES[kind])
    after = score_depths(trained(folder, tmp_path, kind, epochs=15), one, SCALES[kind])
    np.testing.assert_allclose(after.losses[0], before.losses[0], atol=1e-5)
    assert after.losses[1].mean() < before.losses[1].mean() - 0.3
    assert after.ndcg[1].mean() > before.ndcg[1].mean()


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_how_much_is_read_at_a_time_changes_no_weight(folder: Path, tmp_path: Path, kind: str) -> None:
    whole = trained(folder, tmp_path / "whole", kind, epochs=2)
    pieces = trained(folder, tmp_path / "pieces", kind, epochs=2, piece_tokens=16)
    for name, value in whole.parameters.items():
        torch.testing.assert_close(pieces.parameters[name], value, rtol=1e-3, atol=2e-5)
    assert whole.num_tokens == pieces.num_tokens > 0


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_run_that_was_cut_goes_on_to_the_same_weights(folder: Path, tmp_path: Path, kind: str) -> None:
    whole = trained(folder, tmp_path / "whole", kind, epochs=3)
    one, model, calls = world(folder), student(folder, kind), 0

    class KilledError(Exception):
        pass

    def killing(_: object, sets: Sequence[FeedbackSet]) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KilledError
        return held_out_loss(model, sets, SCALES[kind])

    with pytest.raises(KilledError):
        train_lol([one], [one], model, settings(kind, 3), tmp_path / "cut", killing)
    again = trained(folder, tmp_path / "cut", kind, epochs=3)
    for name, value in whole.parameters.items():
        torch.testing.assert_close(again.parameters[name], value, rtol=0, atol=0)


def test_terms_become_rows_of_the_matrix(folder: Path) -> None:
    one, model = world(folder), student(folder, "sparse")
    assert one.terms is not None
    asked = [Asked(one.queries[0], ()), Asked(one.queries[0], (0, 3))]
    with torch.no_grad():
        rows = model.forward(one, asked).vectors
    np.testing.assert_allclose(rows[0], one.terms.row({WORDS[0]: 1}), atol=1e-6)
    expected = one.terms.row({WORDS[0]: 1, WORDS[20]: 0.02, WORDS[3]: 0.02, WORDS[23]: 0.02})
    np.testing.assert_allclose(rows[1], expected, atol=1e-6)
