"""Reranking by an embedder: its products, each passage embedded once, and memory that is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ragkit import assemble
from ragkit.config import Config
from ragkit.errors import ConfigError
from ragkit.records import FloatArray, Passage, Query
from ragkit.retrievers.embedder_reranker import EmbedderReranker
from tests.fakes import HashEmbedder
from tests.reranker_fakes import make_hits, picture_hit

TEXTS = ["the cat sat", "a dog ran", "the old cat sat on the bank", "birds"]


class CountingEmbedder(HashEmbedder):
    """Keeps the texts of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        self.calls.append([passage.titled_text for passage in passages])
        return super().embed_passages(passages)


def test_scores_are_the_embedders_inner_products() -> None:
    embedder, hits = HashEmbedder(), make_hits(TEXTS)
    rows = embedder.embed_passages([hit.passage for hit in hits])
    expected = rows @ embedder.embed_queries(["cat on a bank"])[0]
    ranked = EmbedderReranker("hash", embedder).rerank(Query("cat on a bank"), hits)
    assert {hit.passage.key: hit.score for hit in ranked} == pytest.approx(dict(enumerate(expected)))
    assert ranked[0].passage.text == "the old cat sat on the bank"


def test_a_passage_is_embedded_once() -> None:
    embedder = CountingEmbedder()
    reranker = EmbedderReranker("hash", embedder)
    first = reranker.rerank(Query("cat"), make_hits([*TEXTS[:2], TEXTS[0]]))
    assert embedder.calls == [TEXTS[:2]]
    again = reranker.rerank(Query("cat"), make_hits([*TEXTS[:2], TEXTS[0]]))
    assert again == first
    assert embedder.calls == [TEXTS[:2]]
    reranker.rerank(Query("dog"), make_hits(TEXTS))
    assert embedder.calls[1:] == [TEXTS[2:]]


def test_passages_asked_for_longest_ago_are_forgotten() -> None:
    embedder = CountingEmbedder()
    reranker = EmbedderReranker("hash", embedder, kept_values=2 * embedder.dim + 1)
    for text in ("one", "two", "one", "three", "one", "two"):
        reranker.rerank(Query("cat"), make_hits([text]))
    assert embedder.calls == [["one"], ["two"], ["three"], ["two"]]
    # More hits than there is room for.
    assert len(reranker.rerank(Query("cat"), make_hits(TEXTS))) == 4


def test_page_pictures_are_refused() -> None:
    reranker = EmbedderReranker("hash", HashEmbedder())
    with pytest.raises(ConfigError, match=r"page 9 of scan\.pdf, and the embedder 'hash' reads texts alone"):
        reranker.rerank(Query("cat"), [*make_hits(TEXTS), picture_hit(9, 0)])


def test_prompts_of_the_searching_embedder_are_not_given_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(assemble, "make_text_embedder", lambda settings: seen.append(settings) or HashEmbedder())
    embedder = {"name": "small", "query_prompt": "query: ", "passage_prompt": "passage: ", "device": "cpu"}
    embedder["trust_remote_code"] = True
    config = Config.model_validate({"embedder": embedder, "rerank": {"kind": "embedder", "model": "large"}})
    assert isinstance(assemble.make_reranker(config, pytest.fail), EmbedderReranker)
    (settings,) = seen
    assert (settings.name, settings.query_prompt, settings.passage_prompt) == ("large", None, None)
    assert (settings.device, settings.trust_remote_code) == ("cpu", False)
    same = config.model_copy(update={"rerank": config.rerank.model_copy(update={"model": "small"})})
    assemble.make_reranker(same, pytest.fail)
    assert seen[1] == config.embedder


def test_a_model_must_be_named() -> None:
    config = Config.model_validate({"rerank": {"kind": "embedder"}})
    with pytest.raises(ConfigError, match=r"rerank\.kind = 'embedder' needs rerank\.model"):
        assemble.make_reranker(config, pytest.fail)
