import json

import pytest

from ragkit.eval.speed.timing import Comparison, SpeedReport, compare, machine_facts


class Clock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def __call__(self):
        return self.now

    def work(self, side, seconds):
        def run(repetition):
            self.log.append((side, repetition))
            self.now += seconds[len([1 for logged, _ in self.log if logged == side]) - 1]

        return run


def test_work_is_interleaved_and_medians_leave_the_warm_up_out():
    clock = Clock()
    comparison = compare(
        "index",
        clock.work("ours", [100.0, 1.0, 3.0, 2.0]),
        clock.work("bare", [100.0, 8.0, 9.0, 7.0]),
        repeats=3,
        unit="texts",
        num_units=16,
        clock=clock,
    )
    assert clock.log == [
        *[("bare", 0), ("ours", 0)],
        *[("ours", 0), ("bare", 0)],
        *[("bare", 1), ("ours", 1)],
        *[("ours", 2), ("bare", 2)],
    ]
    assert comparison.ours_s == (1.0, 3.0, 2.0)
    assert comparison.bare_s == (8.0, 9.0, 7.0)
    assert (comparison.ours_median_s, comparison.bare_median_s) == (2.0, 8.0)
    assert (comparison.speedup, comparison.time_ratio) == (4.0, 0.25)


def test_no_repetition_is_refused():
    with pytest.raises(ValueError, match="0 repetitions"):
        compare("x", lambda i: None, lambda i: None, repeats=0, unit="texts")


REPORT = SpeedReport(
    (
        Comparison("indexing", "texts", 100, (2.0,), (5.0,)),
        Comparison("search", "queries", 1, (0.0105, 0.021, 0.0105), (0.01, 0.01, 0.02)),
    ),
    facts={"dtype": "float32"},
    quality={"nDCG@10 difference": -0.001},
)


def test_the_json_form():
    form = json.loads(json.dumps(REPORT.to_json()))
    assert form["facts"] == {"dtype": "float32"}
    assert form["quality"] == {"nDCG@10 difference": -0.001}
    indexing, search = form["comparisons"]
    assert (indexing["ours_per_s"], indexing["bare_per_s"], indexing["speedup"]) == (50.0, 20.0, 2.5)
    assert search["time_ratio"] == pytest.approx(1.05)
    assert search["ours_s"] == [0.0105, 0.021, 0.0105]


def test_the_table_shows_rates_for_many_and_times_for_one():
    table = REPORT.table()
    rows = [list(cells) for cells in zip(*(column.cells for column in table.columns), strict=True)]
    assert rows == [
        ["indexing", "50.0 texts/s", "20.0 texts/s", "2.50", "0.400"],
        ["search", "10.50 ms", "10.00 ms", "0.95", "1.050"],
    ]
    assert table.caption == "dtype: float32; nDCG@10 difference: -0.001"


def test_the_machine_is_told():
    facts = machine_facts()
    assert facts["processor"]
    assert facts["cores"] >= 1
