"""The reformulator of vectors alone: what holds before training, for every weight, and on the disk."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.errors import ConfigError, DataError
from ragkit.records import FloatArray
from ragkit.retrievers.feedback.load_reformulator import load_reformulator, save_reformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, VectorShape

SHAPE = VectorShape(dim=16, width=8, heads=2, layers=1)


def unit(rng: np.random.Generator, *shape: int) -> FloatArray:
    rows = rng.normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def moved(shape: VectorShape = SHAPE, metric: str = "cosine") -> VectorReformulator:
    """Of random weights everywhere, as after training."""
    model = VectorReformulator(shape, "abc", metric, threshold=0.05)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters.values():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return model


def test_before_training_every_depth_is_the_query() -> None:
    rng = np.random.default_rng(0)
    vectors, passages = unit(rng, 6, 16), [unit(rng, depth, 16) for depth in range(6)]
    revised = VectorReformulator(SHAPE, "abc").revise((), vectors, (), passages)
    np.testing.assert_allclose(revised, vectors, atol=1e-6)


def test_without_passages_a_trained_model_gives_the_very_query() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng, 3, 16) * np.float32(1.5)
    none = [np.zeros((0, 16), np.float32)] * 3
    for metric in ("cosine", "dot"):
        np.testing.assert_array_equal(moved(metric=metric).revise((), vectors, (), none), vectors)
    mixed = moved().revise((), vectors, (), [none[0], unit(rng, 4, 16), none[0]])
    np.testing.assert_array_equal(mixed[[0, 2]], vectors[[0, 2]])
    assert np.abs(mixed[1] - vectors[1]).max() > 0.05


def test_rows_do_not_depend_on_the_batch_and_have_unit_length() -> None:
    rng = np.random.default_rng(2)
    vectors, passages = unit(rng, 5, 16), [unit(rng, depth, 16) for depth in (1, 5, 2, 4, 3)]
    model = moved()
    together = model.revise((), vectors, (), passages)
    alone = [model.revise((), vectors[i : i + 1], (), passages[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    depths = model.choose_depths((), vectors, (), passages)
    assert depths == [model.choose_depths((), vectors[i : i + 1], (), passages[i : i + 1])[0] for i in range(5)]


def test_passages_beyond_the_most_are_left_out() -> None:
    rng = np.random.default_rng(3)
    vectors, passages = unit(rng, 1, 16), unit(rng, 9, 16)
    np.testing.assert_array_equal(
        moved().revise((), vectors, (), [passages]), moved().revise((), vectors, (), [passages[:5]])
    )


def test_within_stays_in_the_span_of_query_and_passages() -> None:
    rng = np.random.default_rng(4)
    vectors, passages = unit(rng, 1, 16), unit(rng, 3, 16)
    basis = np.concatenate([vectors, passages]).T
    for free, is_within in ((False, True), (True, False)):
        shape = VectorShape(dim=16, width=8, heads=2, layers=1, free=free)
        revised = moved(shape).revise((), vectors, (), [passages])[0]
        rest = revised - basis @ np.linalg.lstsq(basis, revised, rcond=None)[0]
        assert bool(np.abs(rest).max() < 1e-5) is is_within


def test_the_guard_takes_the_lowest_guess_or_nothing() -> None:
    class Guessing(VectorReformulator):
        """The guess is a table by depth."""

        def forward(self, queries, passages, counts):  # type: ignore[no-untyped-def]
            revision = super().forward(queries, passages, counts)
            return type(revision)(revision.vectors, self.guesses[counts])

    model = Guessing(SHAPE, "abc", threshold=0.05)
    rows = np.ones((4, 16), np.float32)
    for guesses, expected in (([0, -0.1, -0.3, -0.2, -9], 2), ([0, -0.04, 0.1, 0.2, -9], 0)):
        model.guesses = torch.tensor(guesses, dtype=torch.float32)  # type: ignore[attr-defined]
        assert model.choose_depths((), rows[:1], (), [rows[:3]]) == [expected]
    assert model.choose_depths((), rows[:1], (), [rows[:0]]) == [0]


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    vectors, passages = unit(rng, 2, 16), [unit(rng, 3, 16), unit(rng, 2, 16)]
    model = moved()
    save_reformulator(model, tmp_path)
    loaded = load_reformulator(tmp_path)
    assert isinstance(loaded, VectorReformulator)
    assert (loaded.kind, loaded.fingerprint) == ("vector", "abc")
    np.testing.assert_array_equal(
        loaded.revise((), vectors, (), passages), model.revise((), vectors, (), passages)
    )
    assert loaded.threshold == 0.05


def test_what_is_no_reformulator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no reformulator\.json"):
        load_reformulator(tmp_path)
    save_reformulator(moved(), tmp_path)
    facts = json.loads((tmp_path / "reformulator.json").read_text())
    for change, message in (
        ({"format": 9}, "has format 9 and kind 'vector'"),
        ({"kind": "odd"}, "and kind 'odd'"),
        ({"shape": {"dim": 4}}, "cannot be read"),
    ):
        (tmp_path / "reformulator.json").write_text(json.dumps(facts | change))
        with pytest.raises(DataError, match=message):
            load_reformulator(tmp_path)


def test_a_query_takes_less_than_five_milliseconds() -> None:
    rng = np.random.default_rng(6)
    model = VectorReformulator(VectorShape(dim=384), "abc")
    vectors, passages = unit(rng, 1, 384), [unit(rng, 5, 384)]
    taken = []
    for _ in range(30):
        started = time.perf_counter()
        model.revise((), vectors, (), passages)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.005
