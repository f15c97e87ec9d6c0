"""Settings of variants, and plans that take over what the settings say."""

from __future__ import annotations

import pytest

from ragkit.config import parse_config
from ragkit.errors import ConfigError
from ragkit.eval.speed.tradeoff import TradeoffPlan, Variant
from ragkit.evaluations.speed.tradeoff_settings import settings_of, with_token_vectors, with_tokens

LATE = parse_config(
    {
        "index": {"kind": "hnsw", "recall_target": 0.9},
        "late_interaction": {"name": "some/colpali", "dtype": "int8", "pool_factor": 2, "depth": 7},
    }
)


def test_a_variant_changes_its_own_settings_alone():
    config = settings_of(LATE, Variant("ivf-pq", "float16", 3))
    assert (config.index.kind, config.index.min_vectors, config.index.recall_target) == ("ivf-pq", 1, 0.9)
    late = config.late_interaction
    assert (late.name, late.dtype, late.pool_factor, late.depth) == ("some/colpali", "float16", 3, 7)
    assert settings_of(LATE, Variant("flat")).late_interaction == LATE.late_interaction
    assert with_tokens(LATE, Variant("ivf-pq", "float16", 3)).index == LATE.index


def test_what_is_not_swept_is_as_the_settings_say():
    assert with_token_vectors(TradeoffPlan(("flat",)), LATE) == TradeoffPlan(("flat",), ("int8",), (2,))
    both = TradeoffPlan(("flat",), ("float16", "int8"), (1, 4))
    assert with_token_vectors(both, LATE) == both
    plain = TradeoffPlan(("flat",))
    assert with_token_vectors(plain, parse_config({})) == plain


def test_pictures_are_searched_by_vectors_whatever_texts_are_searched_by():
    config = parse_config({"retrieval": {"method": "bm25"}, "pages": {"embed": "both"}})
    assert with_token_vectors(TradeoffPlan(("flat",)), config) == TradeoffPlan(("flat",))
    with pytest.raises(ConfigError, match="searches no vectors"):
        with_token_vectors(TradeoffPlan(("flat",)), parse_config({"retrieval": {"method": "bm25"}}))
