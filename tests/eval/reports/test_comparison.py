import time

import numpy as np
import pytest

from ragkit.eval.measures.significance import Interval, bootstrap_interval, holm, paired_randomization
from ragkit.eval.reports import comparison
from ragkit.eval.reports.comparison import compare

RR = {
    "old": {"q1": 1.0, "q2": 0.5, "q3": 0.25, "q4": 0.0},
    "new": {"q1": 1.0, "q2": 1.0, "q3": 0.5, "q4": 0.25},
    "odd": {"q1": 0.25, "q2": 0.25, "q3": 1.0, "q4": 0.0},
}


def test_means_and_differences_by_hand():
    found = compare({name: {"RR": values} for name, values in RR.items()})
    assert [found.means[name]["RR"].value for name in RR] == [0.4375, 0.6875, 0.375]
    assert [(one.a, one.b) for one in found.differences] == [("old", "new"), ("old", "odd"), ("new", "odd")]
    assert [one.value for one in found.differences] == [0.25, -0.0625, -0.3125]
    assert [(one.wins, one.losses, one.ties) for one in found.differences] == [(3, 0, 1), (1, 2, 1), (1, 3, 0)]
    # 0.5, 0.25, 0.25: 2 of 8 signs reach a sum of 1. -0.75, -0.25, 0.75: all but two reach 0.25: 8 of 8 do.
    # -0.75, -0.75, 0.5, -0.25: a sum of 1.25 is reached by 2.25, 1.75, 1.25, either way: 6 of 16.
    assert [one.p for one in found.differences] == [0.25, 1.0, 0.375]
    assert [one.p_holm for one in found.differences] == [0.75, 1.0, 0.75]


def test_holm_is_over_all_pairs_and_measures():
    rng = np.random.default_rng(1)
    queries = [f"q{number}" for number in range(20)]
    systems = {
        name: {measure: dict(zip(queries, rng.random(20) + shift, strict=True)) for measure in ("A", "B")}
        for name, shift in (("x", 0.0), ("y", 0.3), ("z", 0.5))
    }
    found = compare(systems).differences
    assert [(one.a, one.b, one.measure) for one in found] == [
        (a, b, measure) for a, b in (("x", "y"), ("x", "z"), ("y", "z")) for measure in ("A", "B")
    ]
    assert [one.p_holm for one in found] == pytest.approx(holm([one.p for one in found]), abs=0)
    for one in found:
        a, b = (list(systems[name][one.measure].values()) for name in (one.a, one.b))
        assert one.p == pytest.approx(paired_randomization(a, b), abs=1e-12)
        expected = bootstrap_interval(np.subtract(b, a))
        assert (one.interval.low, one.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_differences_by_rounding_are_ties():
    found = compare({"a": {"M": {"q1": 0.3, "q2": 0.7}}, "b": {"M": {"q1": 0.1 + 0.2, "q2": 0.7}}})
    (one,) = found.differences
    assert (one.value, one.p, one.wins, one.losses, one.ties) == (0.0, 1.0, 0, 0, 2)
    assert one.interval == Interval(0.0, 0.0)
    assert found.most_changed("a", "b") == []


def test_most_changed_queries_come_first_and_unchanged_ones_not_at_all():
    found = compare({name: {"RR": values} for name, values in RR.items()})
    assert found.most_changed("old", "new") == ["q2", "q3", "q4"]
    assert found.most_changed("new", "odd", 2) == ["q1", "q2"]


def test_measures_may_have_queries_of_their_own():
    a = {"f1": {"q1": 0.5, "q2": 1.0}, "cited": {"q2": 1.0}}
    b = {"f1": {"q1": 1.0, "q2": 1.0}, "cited": {"q2": 0.0}}
    found = compare({"a": a, "b": b})
    assert [found.num_queries(measure) for measure in found.measures] == [2, 1]
    assert [one.value for one in found.differences] == [0.25, -1.0]


def test_a_thousand_queries_take_seconds_at_most_and_measures_share_their_draws(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    for name in ("bootstrap_intervals", "randomization_p"):
        real = getattr(comparison, name)
        counted = lambda rows, real=real, name=name, **more: drawn.append((name, len(rows))) or real(rows, **more)  # noqa: E731
        monkeypatch.setattr(comparison, name, counted)
    rng = np.random.default_rng(2)
    systems = {
        name: {
            measure: {f"q{number}": float(value) for number, value in enumerate(rng.random(1000))}
            for measure in ("A", "B", "C", "D")
        }
        for name in "xyz"
    }
    start = time.process_time()
    compare(systems)
    # Between one and two seconds on an idle core; measure by measure it took three times as long.
    assert time.process_time() - start < 8
    # Of 4 measures: 3 means and 3 differences, and the p-values of these.
    assert drawn == [("bootstrap_intervals", 24), ("randomization_p", 12)]
