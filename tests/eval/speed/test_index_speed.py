"""What `ragkit eval speed --scale` makes of its timings."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ragkit.eval.speed.index_speed import (
    Build,
    Change,
    ChangedSearches,
    IndexSpeed,
    IndexSpeedPlan,
    Opening,
    parse_sizes,
    percentile,
)
from ragkit.eval.speed.index_speed_report import IndexSpeedReport
from ragkit.eval.speed.timing import Comparison

HNSW = IndexSpeed(
    num_passages=10_000,
    kind="hnsw",
    build=Build("HNSW32", "so", 24, 0, 0.96, 3.0, 6.0, 4.5, 4.0, 2_000_000, 16_000_000, 20_000_000),
    opening=Opening((0.3, 0.1, 0.2), 5_000_000, 21_000_000, 1_000_000),
    bare_opening=Opening((0.8, 0.4), 20_000_000, 20_000_000, 19_000_000),
    mapped_opening=Opening((0.07,), 3_000_000, 19_000_000, 0),
    corpus_opening=Opening((0.5,), 6_000_000, 22_000_000, 2_000_000),
    searches=(
        Comparison("search 1", "queries", 1, (0.004, 0.001, 0.002), (0.001, 0.001, 0.004)),
        Comparison("search 256", "queries", 256, (0.512,), (1.024,)),
    ),
    corpus_search_s=(0.001, 0.003, 0.005),
    recall=0.97,
    bare_recall=0.98,
    changes=(Change("add 100", (0.5, 0.1, 0.2), (3_000_000, 1_000_000, 2_000_000), True),),
    changed=ChangedSearches(3, 1203, (Comparison("search 1", "queries", 1, (0.003, 0.003), (0.002, 0.002)),)),
)


def test_ratios_are_those_of_medians() -> None:
    told = HNSW.to_json()
    single, many = told["search"]
    assert (single["ours_p50_s"], single["bare_p50_s"]) == (0.002, 0.001)
    assert single["time_ratio"] == 2.0
    assert single["ours_p95_s"] == pytest.approx(0.002 + 0.9 * 0.002)
    assert (many["ours_per_s"], many["bare_per_s"], many["time_ratio"]) == (500, 250, 0.5)
    opened = told["open"]
    assert opened["index"]["median_s"] == 0.2
    assert opened["bare"]["median_s"] == pytest.approx(0.6)
    assert opened["index_memory_ratio"] == pytest.approx(1.05)
    nothing = replace(HNSW, bare_opening=Opening((0.1,), 0, 0, 0))
    assert nothing.memory_ratio is None  # a small index fits into memory that the process had before
    [added] = told["changes"]
    assert (added["median_s"], added["most_s"], added["median_bytes"]) == (0.2, 0.5, 2_000_000)
    assert opened["bare_mapped"]["searched_bytes"] == 19_000_000
    after = told["after_changes"]
    assert (after["num_shards"], after["num_dead"]) == (3, 1203)
    assert [(one["num_units"], one["ours_p50_s"], one["time_ratio"]) for one in after["search"]] == [
        (1, 0.003, pytest.approx(1.5))
    ]
    assert told["recall"] == {"index": 0.97, "bare": 0.98, "measured_by_the_corpus": 0.96}


def test_percentiles_lie_between_the_values() -> None:
    assert percentile([0.0, 1.0, 2.0, 3.0], 50) == 1.5
    assert percentile([5.0], 95) == 5.0


def test_the_table_has_a_column_for_each_kind_and_says_what_was_not_seen() -> None:
    flat = replace(HNSW, kind="flat", changes=(replace(HNSW.changes[0], seen=False),))
    large = replace(HNSW, num_passages=100_000)
    out = io.StringIO()
    Console(file=out, width=120).print(IndexSpeedReport((flat, HNSW, large), {"dim": 384}).table())
    shown = out.getvalue()
    lines = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.startswith("│")}
    assert "10,000 passages" in shown
    assert "100,000 passages" in shown
    assert shown.index("flat") < shown.index("hnsw")
    assert "2.000 / 1.000 (2.00)" in lines["search 1 p50, ms"]
    assert "500 / 250" in lines["search 256, queries/s"]
    assert "21.0 / 20.0 (1.05)" in lines["memory searched, MB"]
    assert "6.00 / 4.00 (1.50)" in lines["index, s"]
    assert "18.0 / 20.0 (0.90)" in lines["vectors and index files, MB"]  # bare has the vectors in its file
    assert "2.0" in lines["of ours beside the vectors, MB"]
    assert "70.0" in lines["open bare mapped, ms"]
    assert "3, 1,203" in lines["shards, dead rows after changes"]
    assert "3.000 / 2.000 (1.50)" in lines["search 1 after changes p50, ms"]
    assert "333 / 500" in lines["search 1 after changes, queries/s"]
    assert "200.0 (most 500.0)" in lines["add 100, ms"]
    assert shown.count("NOT SEEN") == 1
    assert "dim: 384" in shown


def test_more_removals_than_passages_are_refused() -> None:
    assert IndexSpeedPlan((1000,), repeats=9).repeats == 9
    with pytest.raises(ValueError, match=r"10 repetitions remove 1,010 passages.* 1,000; ask for at most 9"):
        IndexSpeedPlan((5000, 1000), repeats=10)


def test_sizes_are_a_list_of_numbers() -> None:
    assert parse_sizes("10000, 2000") == (10_000, 2_000)
    for wrong in ("", "ten", "10000,", "10000,-5", "100"):
        with pytest.raises(ValueError, match="no list of numbers of passages"):
            parse_sizes(wrong)
