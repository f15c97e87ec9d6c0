"""The table of eval/peers: its figures, its ratios, and what it says of things that failed."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from ragkit import __version__
from ragkit.eval.peers import compare
from ragkit.eval.peers.compare import NEEDS, make_data, nearest, report, why_not_resumed
from ragkit.eval.peers.conditions import conditions_of, versions_of
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
    assert set(NEEDS).union(*NEEDS.values()) == set(STEPS)
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


def test_the_truth_after_changes_has_what_was_added_and_not_what_was_deleted(tmp_path: Path) -> None:
    folder = make_data(tmp_path / "1000", 1000)
    vectors, queries = np.load(folder / "vectors.npy"), np.load(folder / "queries.npy")
    scores = queries @ vectors.T
    assert len(vectors) == 1100
    scores[:, 0] = -2
    expected = np.argsort(-scores, axis=1)[:, :10]
    changed = np.load(folder / "nearest_changed.npy")
    np.testing.assert_array_equal(changed, expected)
    assert (changed >= 1000).any()


@pytest.mark.parametrize("failed", ["add", "delete"])
def test_without_a_change_nothing_is_searched_after_it(
    failed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_step(tool, step, *_):
        return {f"{step}_error": "not implemented"} if step == failed else {step: 1.0}

    monkeypatch.setattr(compare, "run_step", run_step)
    facts = compare.measure("x", Path("python"), tmp_path, tmp_path / "store", compare.Limits(1, 1, 0, 0))
    assert cell(MEASURE["changed_p50_ms"], facts, RAGKIT) == "not possible"
    assert "search" in facts


LIMITS = {"seconds": 120.0, "timeout_s": 1800.0, "memory_gb": 0.0, "threads": 1}


def test_ragkits_own_versions_are_told() -> None:
    told = versions_of(Path(sys.executable))
    assert f"ragkit {__version__}" in told
    assert f"numpy {version('numpy')}" in told
    assert any(one.startswith("faiss-") for one in told)
    assert versions_of("no environment: no network") == []


def test_results_of_other_conditions_are_not_resumed() -> None:
    now = {tool: conditions_of(Path(sys.executable), LIMITS) for tool in ("ragkit", "txtai")}
    kept = json.loads(json.dumps({"10000": {"ragkit": {"conditions": now["ragkit"], "facts": RAGKIT}}}))
    assert why_not_resumed(kept, [10_000, 500], now) == ""
    more_threads = {"ragkit": {**now["ragkit"], "threads": 2}}
    told = why_not_resumed(kept, [10_000], more_threads)
    assert told == "ragkit at 10,000 was measured with threads: 1, now 2"
    assert why_not_resumed(kept, [500], more_threads) == ""
    newer = {"ragkit": {**now["ragkit"], "versions": ["ragkit 9.9"]}}
    assert "now ['ragkit 9.9']" in why_not_resumed(kept, [10_000], newer)
    # As an earlier compare.py kept them.
    assert "versions: None" in why_not_resumed({"10000": {"ragkit": RAGKIT}}, [10_000], now)


def test_the_report_tells_the_versions_of_each_column() -> None:
    machine = {"machine": {"cores": 2}, **LIMITS}
    conditions = {
        "ragkit": {**machine, "versions": ["ragkit 1", "numpy 2"]},
        "ragkit flat": {**machine, "versions": ["ragkit 1", "numpy 2"]},
        "txtai": {**machine, "versions": ["numpy 1", "txtai 9"]},
        "LanceDB": {**machine, "versions": []},
    }
    kept = {tool: {"conditions": one, "facts": RAGKIT} for tool, one in conditions.items()}
    kept["Haystack"] = kept["txtai"]  # kept, and not asked for
    text = report({"10000": kept}, [10_000], conditions)
    assert text.startswith("Measured with cores: 2; seconds: 120.0; ")
    assert "\n- ragkit, ragkit flat: ragkit 1, numpy 2\n- txtai: numpy 1, txtai 9\n- LanceDB: could not" in text
    assert "| importing" in text
    assert "Haystack" not in text
