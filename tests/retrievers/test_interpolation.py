"""A reranker weighed against the retriever: worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ragkit import Corpus
from ragkit.assemble import rerank_weight
from ragkit.config import parse_config
from ragkit.errors import ConfigError, DataError
from ragkit.records import Hit, Query
from ragkit.retrievers.interpolation import FILE, interpolated, mixed_scores, store_weight, stored_weight
from ragkit.retrievers.reranking import rerank_first
from tests.fakes import HashEmbedder
from tests.reranker_fakes import make_hits

# (1, 2, 3) has the mean 2 and the standard deviation sqrt(2/3).
UNIT = 1 / math.sqrt(2 / 3)


class Given:
    """Scores hits as it is told, by key."""

    def __init__(self, *scores: float) -> None:
        self._scores = scores

    def rerank(self, query: Query, hits: list[Hit]) -> list[Hit]:
        found = [Hit(self._scores[hit.passage.key], hit.passage) for hit in hits]
        return sorted(found, key=lambda hit: (-hit.score, hit.passage.key))


def test_scores_are_standardised_and_weighed() -> None:
    mixed = mixed_scores([10.0, 30.0, 20.0], [0.3, 0.1, 0.2], 0.75)
    # The reranker's are (-1, 1, 0) times UNIT, the retriever's (1, -1, 0).
    assert mixed.tolist() == pytest.approx([-0.5 * UNIT, 0.5 * UNIT, 0.0])
    assert mixed_scores([5.0, 5.0], [1.0, 3.0], 0.5).tolist() == [-0.5, 0.5]
    assert mixed_scores([0.1, 0.1, 0.1], [0.1, 0.1, 0.1], 0.5).tolist() == [0.0, 0.0, 0.0]
    assert mixed_scores([4.0], [2.0], 0.3).tolist() == [0.0]


def test_the_scale_of_either_does_not_matter() -> None:
    one = mixed_scores([1.0, 5.0, 2.0], [0.9, 0.1, 0.4], 0.6)
    other = mixed_scores([-30.0, 10.0, -20.0], [90.5, 82.5, 85.5], 0.6)
    assert one.tolist() == pytest.approx(other.tolist())


def test_with_weight_0_the_retrievers_order_stays_and_with_1_the_rerankers() -> None:
    hits = make_hits(["a", "b", "c"])
    reranker = Given(1.0, 3.0, 2.0)
    keys = {
        weight: [hit.passage.key for hit in rerank_first(reranker, Query("?"), hits, 3, weight)]
        for weight in (0.0, 0.5, 1.0)
    }
    assert keys[0.0] == [0, 1, 2]
    assert keys[1.0] == [1, 2, 0]
    # Retriever's 1, 1/2, 1/3: standardised 1.40, -0.39, -1.01; the reranker's -1.22, 1.22, 0.
    assert keys[0.5] == [1, 0, 2]


def test_what_is_behind_the_depth_stays_behind_and_places_are_kept() -> None:
    hits = make_hits(["a", "b", "c", "d"])
    found = rerank_first(Given(1.0, 2.0), Query("?"), hits, 2, 0.75)
    assert [(hit.passage.key, hit.retrieved_rank) for hit in found] == [(1, 2), (0, 1), (2, 3), (3, 4)]
    assert [hit.score for hit in found[:2]] == pytest.approx([0.5, -0.5])
    assert found[2].score < -0.5
    assert found[0].retrieval_score == 0.5


def test_equal_scores_are_ordered_by_key() -> None:
    hits = make_hits(["a", "b"])
    ranked = interpolated([Hit(2.0, hits[1].passage), Hit(1.0, hits[0].passage)], {0: 2.0, 1: 1.0}, 0.5)
    assert [(hit.passage.key, hit.score) for hit in ranked] == [(0, 0.0), (1, 0.0)]


def test_the_weight_lies_beside_the_model(tmp_path: Path) -> None:
    assert stored_weight(tmp_path) == 1.0
    store_weight(tmp_path, 0.35, {"choice": {"num_questions": 80}})
    assert stored_weight(tmp_path) == 0.35
    assert json.loads((tmp_path / FILE).read_text())["choice"] == {"num_questions": 80}


def test_a_weight_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*reranking\.json: .*; set rerank\.weight = 0\.35 instead"):
        store_weight(tmp_path / "file", 0.35, {})


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight": 2}', '{"weight": true}', '{"weight": "1"}'])
def test_what_is_no_weight_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"reranking\.json"):
        stored_weight(tmp_path)


def test_the_setting_goes_before_what_lies_beside_the_model(tmp_path: Path) -> None:
    store_weight(tmp_path, 0.35, {})
    table = {"kind": "cross-encoder", "model": str(tmp_path)}
    assert rerank_weight(parse_config({"rerank": table})) == 0.35
    assert rerank_weight(parse_config({"rerank": {**table, "weight": 0.9}})) == 0.9
    assert rerank_weight(parse_config({"rerank": {**table, "weight": 0}})) == 0.0
    assert rerank_weight(parse_config({"rerank": {**table, "kind": "embedder"}})) == 0.35
    # A server's model may be called like a folder here.
    remote = {"kind": "remote", "model": str(tmp_path), "url": "http://localhost/rerank"}
    assert rerank_weight(parse_config({"rerank": remote})) == 1.0
    assert rerank_weight(parse_config({"rerank": {"kind": "llm-yes"}})) == 1.0
    with pytest.raises(ConfigError, match="weight"):
        parse_config({"rerank": {"weight": 1.5}})


def test_a_weight_that_cannot_be_read_is_told_when_the_corpus_is_loaded(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[]")
    config = {"rerank": {"kind": "cross-encoder", "model": str(tmp_path)}}
    with (
        Corpus.open(tmp_path / "c", config=config, embedder=HashEmbedder(), reranker=Given()) as corpus,
        pytest.raises(ConfigError, match="holds no weight"),
    ):
        corpus.load()
