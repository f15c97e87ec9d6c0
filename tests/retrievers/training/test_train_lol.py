"""Training a reformulator on a small world in which the right passages of a query lie around a hidden point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, VectorShape
from ragkit.retrievers.training.lol_loss import LolSettings, reformulation_losses
from ragkit.retrievers.training.lol_students import FeedbackQuery, FeedbackSet, LolStudent, VectorStudent
from ragkit.retrievers.training.train_lol import LolTraining, train_lol
from ragkit.retrievers.training.training_log import read_log

DIM = 8
Judge = Callable[[LolStudent, Sequence[FeedbackSet]], float]


def world(seed: int, num_queries: int = 48) -> FeedbackSet:
    """Topics with six passages each; queries lie further from their topic than its passages do."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(20, DIM))
    passages = np.repeat(topics, 6, axis=0) + 0.5 * rng.normal(size=(120, DIM))
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    queries = []
    for number in range(num_queries):
        vector = topics[number % 20] + 0.9 * rng.normal(size=DIM)
        vector /= np.linalg.norm(vector)
        found = np.argsort(-passages @ vector)[:5]
        relevant = tuple(range(number % 20 * 6, number % 20 * 6 + 6))
        queries.append(FeedbackQuery("", vector.astype(np.float32), tuple(found.tolist()), relevant))
    return FeedbackSet(passages.astype(np.float32), ("",) * 120, tuple(queries))


def losses(model: VectorReformulator, one: FeedbackSet, depth: int) -> torch.Tensor:
    vectors = np.stack([query.vector for query in one.queries])
    revised = model.revise((), vectors, (), [one.passages[list(query.found[:depth])] for query in one.queries])
    positives = [query.relevant for query in one.queries]
    return reformulation_losses(torch.from_numpy(revised), torch.from_numpy(one.passages), positives, 10.0).losses


def judged(student: LolStudent, held_out: Sequence[FeedbackSet]) -> float:
    assert isinstance(student, VectorStudent)
    return float(sum(losses(student.model, one, depth).mean() for one in held_out for depth in (1, 3, 5)))


def small_model() -> VectorReformulator:
    return VectorReformulator(VectorShape(DIM, width=16, heads=2, layers=1), "abc")


def trained(folder: Path, comparative: float = 1.0, epochs: int = 8, judge: Judge = judged) -> VectorReformulator:
    model = small_model()
    settings = LolTraining(
        LolSettings(comparative, scale=10.0), epochs=epochs, batch_size=16, learning_rate=5e-3, patience=50
    )
    train_lol([world(0)], [world(0)], VectorStudent(model), settings, folder, judge)
    return model


def growth(model: VectorReformulator, one: FeedbackSet) -> float:
    """How much higher losses are with five passages than with fewer, where they are."""
    fewer = torch.stack([losses(model, one, depth) for depth in range(5)])
    return float((losses(model, one, 5) - fewer).clamp(min=0).mean())


def test_losses_fall_and_grow_less_with_feedback_than_without_the_term(tmp_path: Path) -> None:
    plain, compared = trained(tmp_path / "a", 0.0), trained(tmp_path / "b", 4.0)
    one = world(0)
    for model in (plain, compared):
        assert losses(model, one, 5).mean() < losses(small_model(), one, 5).mean() - 0.1
    assert growth(compared, one) < 0.6 * growth(plain, one)


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", epochs=3)

    class KilledError(Exception):
        pass

    calls = 0

    def killing(student: LolStudent, held_out: Sequence[FeedbackSet]) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KilledError
        return judged(student, held_out)

    with pytest.raises(KilledError):
        trained(tmp_path / "cut", epochs=3, judge=killing)
    again = trained(tmp_path / "cut", epochs=3)
    for name, value in whole.parameters.items():
        torch.testing.assert_close(again.parameters[name], value, rtol=0, atol=0)
    log = read_log(tmp_path / "cut" / "log.jsonl")
    epochs = [record["epoch"] for record in log if record["kind"] == "evaluation"]
    assert epochs == [0, 1, 2, 3]


def test_the_best_weights_are_kept_and_training_stops_when_none_are_better(tmp_path: Path) -> None:
    figures = iter([0.5, 0.3, 0.4, 0.4, 0.1])
    model = small_model()
    settings = LolTraining(LolSettings(scale=10.0), epochs=9, batch_size=16, patience=2)
    outcome = train_lol([world(0)], [], VectorStudent(model), settings, tmp_path, lambda *_: next(figures))
    assert (outcome.untrained, outcome.best, outcome.best_epoch, outcome.epochs) == (0.5, 0.3, 1, 3)
    figures = iter([0.5, 0.3, 0.4])
    after_one = small_model()
    one_epoch = LolTraining(LolSettings(scale=10.0), epochs=9, batch_size=16, patience=1)
    train_lol([world(0)], [], VectorStudent(after_one), one_epoch, tmp_path / "one", lambda *_: next(figures))
    for name, value in after_one.parameters.items():
        torch.testing.assert_close(model.parameters[name], value, rtol=0, atol=0)


def test_the_guess_learns_what_revising_changes(tmp_path: Path) -> None:
    one = world(0)
    model = trained(tmp_path, epochs=12)
    vectors = torch.from_numpy(np.stack([query.vector for query in one.queries]))
    passages = torch.from_numpy(np.stack([one.passages[list(query.found)] for query in one.queries]))
    guessed = model.forward(vectors, passages, torch.full((len(vectors),), 5)).loss_change.detach()
    changes = losses(model, one, 5) - losses(model, one, 0)
    assert (guessed - changes).abs().mean() < changes.abs().mean()
