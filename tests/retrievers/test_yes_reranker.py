"""Probabilities of yes: worked out by hand, and the pictures of pages."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from PIL import Image

from ragkit.errors import ConfigError, EngineError
from ragkit.records import ChatReply, ChatRequest, Hit, ImageLimits, PageImage, Query, TokenLogprob
from ragkit.retrievers.yes_reranker import YesReranker, probability_of_yes
from tests.engine_fakes import ScriptedEngine
from tests.reranker_fakes import make_hits

QUERY = Query("who?")


def likeliest(**probabilities: float) -> ChatReply:
    top = tuple(TokenLogprob(token, math.log(p)) for token, p in probabilities.items())
    return ChatReply(top[0].token, tokens=(TokenLogprob(top[0].token, top[0].logprob, top=top),))


def written(text: str, probability: float) -> ChatReply:
    return ChatReply(text, logprobs=(math.log(probability),))


def test_all_ways_to_write_yes_and_no_count() -> None:
    assert probability_of_yes(likeliest(Yes=0.4, no=0.2, yes=0.2, The=0.1)) == pytest.approx(0.75)
    assert probability_of_yes(likeliest(**{"▁yes": 0.3, " NO.": 0.1})) == pytest.approx(0.75)
    assert probability_of_yes(likeliest(No=0.9)) == 0.0
    assert probability_of_yes(likeliest(Perhaps=0.9)) is None


def test_where_only_the_written_token_is_known_its_probability_counts() -> None:
    assert probability_of_yes(written("Yes", 0.7)) == pytest.approx(0.7)
    assert probability_of_yes(written(" no", 0.9)) == pytest.approx(0.1)
    assert probability_of_yes(written("well", 0.9)) is None
    assert probability_of_yes(ChatReply("yes")) is None


def by_length(request: ChatRequest) -> ChatReply:
    assert request.logprobs
    assert request.sampling.logprobs
    assert request.sampling.max_tokens == 1
    length = len(request.messages[-1].content.partition("\n")[0])
    return likeliest(yes=1 / length, no=1 - 1 / length)


def test_hits_are_ordered_and_equal_texts_asked_for_once() -> None:
    engine = ScriptedEngine(by_length)
    ranked = YesReranker(engine).rerank(QUERY, make_hits(["long long", "a", "long long", "b"]))
    assert [hit.passage.key for hit in ranked] == [1, 3, 0, 2]
    assert ranked[0].score == pytest.approx(1 / len("Passage: a"))
    assert len(engine.asked) == 3


def test_an_engine_without_probabilities_is_refused() -> None:
    with pytest.raises(EngineError, match="gave no probability of yes or no but 'yes'"):
        YesReranker(ScriptedEngine(lambda _: ChatReply("yes"))).rerank(QUERY, make_hits(["a"]))


def picture_hit() -> Hit:
    page = PageImage("scan.pdf", 4, 20, 10, load=lambda: Image.new("RGB", (20, 10), "red"))
    hit = make_hits([""])[0]
    return replace(hit, passage=replace(hit.passage, document="scan.pdf", page=4, image=page))


def test_a_picture_is_shown_to_an_engine_that_reads_images() -> None:
    engine = ScriptedEngine(lambda _: written("yes", 0.8), image_limits=ImageLimits(1, 50))
    assert YesReranker(engine).rerank(QUERY, [picture_hit()])[0].score == pytest.approx(0.8)
    (picture,) = engine.asked[0].messages[-1].images
    assert picture.size == (10, 5)


def test_a_picture_is_refused_where_the_engine_reads_text_alone() -> None:
    with pytest.raises(ConfigError, match=r"page 4 of scan\.pdf was found by its picture"):
        YesReranker(ScriptedEngine(lambda _: written("yes", 0.8))).rerank(QUERY, [picture_hit()])
