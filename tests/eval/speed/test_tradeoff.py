"""Ways to keep vectors: what is swept, and what stands in the report, by hand."""

from __future__ import annotations

import json

import pytest

from ragkit.errors import ConfigError
from ragkit.eval.measures.significance import Interval
from ragkit.eval.speed.tradeoff import (
    TradeoffPlan,
    Variant,
    VariantResult,
    parse_kinds,
    parse_pool_factors,
    parse_token_dtypes,
    summarise_variants,
)

FLAT = VariantResult(
    Variant("flat"), 10, 5, "exact", "why", 1.0, 4000, 0, 0, {"a": 1.0, "b": 0.5, "c": 0.0, "d": 0.5}
)
CODES = VariantResult(
    Variant("ivf-pq"), 10, 5, "IVF2,PQ8np", "why", 0.9, 4000, 200, 0, {"d": 0.5, "a": 0.6, "b": 0.1, "c": 0.0}
)
SECONDS = {"flat": [0.001, 0.003, 0.002], "ivf-pq": [0.002] * 21}


def test_every_kind_is_swept_with_every_kind_of_token_vectors():
    plan = TradeoffPlan(("flat", "hnsw"), ("float16", "int8"), (1, 3))
    assert [variant.name for variant in plan.variants()] == [
        *("flat, float16, pool 1", "hnsw, float16, pool 1", "flat, float16, pool 3", "hnsw, float16, pool 3"),
        *("flat, int8, pool 1", "hnsw, int8, pool 1", "flat, int8, pool 3", "hnsw, int8, pool 3"),
    ]
    assert list(TradeoffPlan(("flat", "hnsw")).variants()) == [Variant("flat"), Variant("hnsw")]


def test_lists_are_read():
    assert parse_kinds("ivf-pq,flat,ivf-pq") == ("ivf-pq", "flat")
    assert parse_kinds("flat IVF16,PQ8 hnsw") == ("flat", "IVF16,PQ8", "hnsw")
    assert parse_kinds("flat, hnsw") == ("flat", "hnsw")
    assert parse_token_dtypes("int8, float16") == ("float16", "int8")
    assert parse_token_dtypes("") == ()
    assert parse_pool_factors("3,1,3") == (1, 3)


@pytest.mark.parametrize(
    ("parse", "text", "problem"),
    [
        (parse_kinds, " ", "--kind is empty"),
        (parse_token_dtypes, "float32", r"--dtype 'float32' is none of float16, int8.*ivf-sq8"),
        (parse_pool_factors, "0", "--pooling '0' is no number of at least 1"),
        (parse_pool_factors, "1.5", "--pooling '1.5' is no number"),
    ],
)
def test_what_no_corpus_can_have_is_refused(parse, text: str, problem: str):
    with pytest.raises(ConfigError, match=problem):
        parse(text)


def test_figures_of_a_variant():
    flat, codes = summarise_variants([FLAT, CODES], SECONDS)
    assert (flat.bytes_per_passage, flat.bytes_per_page) == (400, 800)
    assert (codes.bytes_per_passage, codes.bytes_per_page) == (420, 840)
    assert (flat.p50_ms, flat.p95_ms) == (pytest.approx(2.0), pytest.approx(2.9))
    assert (flat.ndcg, codes.ndcg) == (0.5, pytest.approx(0.3))
    assert (flat.change, flat.change_interval) == (0.0, Interval(0.0, 0.0))
    # The same queries in another order of rows: differences are -0.4, -0.4, 0, 0.
    assert codes.change == pytest.approx(-0.2)
    assert -0.4 <= codes.change_interval.low < -0.2 < codes.change_interval.high <= 0
    assert flat.ndcg_interval.low < 0.5 < flat.ndcg_interval.high


def test_rows_are_read_back_as_they_were():
    assert VariantResult.from_row(json.loads(json.dumps(CODES.to_row()))) == CODES
