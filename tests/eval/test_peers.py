"""The table of eval/peers: its figures, its ratios, and what it says of things that failed."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit.eval.peers.compare import NEEDS, nearest
from ragkit.eval.peers.measure import STEPS, TOOLS, WORK, searches
from ragkit.eval.peers.ratios import BASE, MEASURES, cell, markdown

MEASURE = {one.key: one for one in MEASURES}
RAGKIT = {"open_s": 0.02, "p50_ms": 2.0, "recall": 1.0, "searches_per_s": 400, "delete_s": 0.0}


def test_a_ratio_is_the_peers_figure_by_ragkits() -> None:
    assert cell(MEASURE["p50_ms"], {"p50_ms": 5.0}, RAGKIT) == "5.00 (×2.5)"
    assert cell(MEASURE["searches_per_s"], {"searches_per_s": 100}, RAGKIT) == "100 (×0.25)"
    assert cell(MEASURE["p50_ms"], RAGKIT, RAGKIT) == "2.00"


def test_figures_that_nothing_can_be_divided_by_stand_alone() -> None:
    assert cell(MEASURE["recall"], {"recall": 0.5}, RAGKIT) == "0.500"
    assert cell(MEASURE["delete_s"], {"delete_s": 0.5}, RAGKIT) == "0.500"
    assert cell(MEASURE["add_s"], {"add_s": 0.5}, RAGKIT) == "0.500"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"delete_error": "NotImplementedError: Delete not yet implemented for Faiss index."}, "not possible"),
        ({"delete_error": "MemoryError"}, "error"),
        ({}, "-"),
    ],
)
def test_what_is_missing_says_why(result: dict[str, str], expected: str) -> None:
    assert cell(MEASURE["delete_s"], result, RAGKIT) == expected


def test_every_failure_stands_below_the_table() -> None:
    text = markdown(1000, {BASE: RAGKIT, "other": {"open_s": 0.1, "delete_error": "MemoryError"}})
    assert "| open until the first answer, s | 0.020 | 0.100 (×5) |" in text
    assert text.endswith("\n- other, delete: MemoryError\n")


def test_every_step_and_figure_has_its_work() -> None:
    assert tuple(WORK) == STEPS
    assert {one.step for one in MEASURES} <= set(STEPS)
    assert set(NEEDS) | set(NEEDS.values()) == set(STEPS)
    assert BASE in TOOLS


def test_nearest_equals_sorting_all_scores() -> None:
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, 8)).astype(np.float32) for n in (300, 150))
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    np.testing.assert_array_equal(nearest(queries, vectors), expected)
    assert nearest(queries, vectors[:3]).shape == (150, 3)


def test_recall_is_the_share_of_the_nearest_that_were_found() -> None:
    queries = np.zeros((2, 4), np.float32)
    times, recall = searches(
        lambda text, _: ["d1", "d2"] if text == "query 0" else ["d9"],
        queries,
        np.array([[1, 2, 3, 4], [9, 8, -1, -1]]),  # half of four; one of the two that there are
        seconds=60,
    )
    assert recall == 0.5
    assert len(times) == 2


def test_searches_end_when_their_time_is_over() -> None:
    nearest_of = np.zeros((30, 1), np.int64)
    times, _ = searches(lambda text, _: [], np.zeros((30, 4), np.float32), nearest_of, seconds=0)
    assert len(times) == 10
