"""Windows, repairs and counts of the language model that puts passages in order."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from ragkit.assemble import make_reranker
from ragkit.config import parse_config
from ragkit.errors import ConfigError, ContextLengthError
from ragkit.records import ChatReply, ChatRequest, PageImage, Query
from ragkit.retrievers.listwise_reranker import ListwiseReranker, WindowCounts
from ragkit.retrievers.yes_reranker import YesReranker
from tests.engine_fakes import ScriptedEngine
from tests.reranker_fakes import make_hits

QUERY = Query("which number is the largest?")
_SHOWN = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


def shown(request: ChatRequest) -> list[str]:
    return [text for _, text in _SHOWN.findall(request.messages[-1].content)]


def by_number(request: ChatRequest) -> ChatReply:
    """Orders passages that are numbers, the largest first."""
    numbers = [int(text) for text in shown(request)]
    order = sorted(range(len(numbers)), key=lambda i: -numbers[i])
    return ChatReply(" > ".join(f"[{i + 1}]" for i in order))


def always(text: str) -> Callable[[ChatRequest], ChatReply]:
    return lambda _: ChatReply(text)


def test_windows_slide_from_the_end_and_carry_the_best_to_the_front() -> None:
    engine = ScriptedEngine(by_number)
    reranker = ListwiseReranker(engine, window=4, step=2)
    ranked = reranker.rerank(QUERY, make_hits([str(i) for i in range(7)]))
    assert [shown(request) for request in engine.asked] == [
        ["3", "4", "5", "6"],
        ["1", "2", "6", "5"],
        ["0", "6", "5"],
    ]
    assert [hit.passage.text for hit in ranked] == ["6", "5", "0", "2", "1", "4", "3"]
    assert [hit.score for hit in ranked] == [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert reranker.counts == WindowCounts(windows=3)


def test_a_list_of_one_window_is_asked_for_once_and_of_one_passage_never() -> None:
    engine = ScriptedEngine(by_number)
    reranker = ListwiseReranker(engine)
    assert [hit.passage.text for hit in reranker.rerank(QUERY, make_hits([str(i) for i in range(20)]))][:2] == [
        "19",
        "18",
    ]
    assert len(engine.asked) == 1
    assert engine.asked[0].sampling.max_tokens >= 20 * 5
    assert [hit.score for hit in reranker.rerank(QUERY, make_hits(["1"]))] == [1.0]
    assert len(engine.asked) == 1


@pytest.mark.parametrize(
    ("reply", "order", "counts"),
    [
        ("[3]", [2, 0, 1], WindowCounts(1, missing=1)),
        ("[2] > [2] > [1] > [3]", [1, 0, 2], WindowCounts(1, repeated=1)),
        ("[2] > [1] > [3] > [7]", [1, 0, 2], WindowCounts(1, unknown=1)),
        ("I like the second.", [0, 1, 2], WindowCounts(1, unreadable=1)),
    ],
)
def test_repairs_are_counted_and_told(
    caplog: pytest.LogCaptureFixture, reply: str, order: list[int], counts: WindowCounts
) -> None:
    reranker = ListwiseReranker(ScriptedEngine(always(reply)))
    with caplog.at_level(logging.WARNING, "ragkit.retrievers"):
        ranked = reranker.rerank(QUERY, make_hits(["a", "b", "c"]))
    assert [hit.passage.key for hit in ranked] == order
    assert reranker.counts == counts
    assert "1 replies were repaired" in caplog.text


def test_a_reply_that_ran_out_of_tokens_orders_what_it_names() -> None:
    reranker = ListwiseReranker(ScriptedEngine(lambda _: ChatReply("[2] > [2] > [3] > [2", "length")))
    ranked = reranker.rerank(QUERY, make_hits(["a", "b", "c"]))
    assert [hit.passage.key for hit in ranked] == [1, 2, 0]
    assert reranker.counts == WindowCounts(1, missing=1, repeated=1)


def test_marks_inside_a_passage_are_no_marks() -> None:
    engine = ScriptedEngine(always("[1] > [2]"))
    ListwiseReranker(engine).rerank(QUERY, make_hits(["as shown in [2] > [1]", "b"]))
    assert shown(engine.asked[0]) == ["as shown in (2) > (1)", "b"]


def test_passages_are_cut_until_a_window_fits() -> None:
    texts = [f"w{i} " + "word " * 500 for i in range(4)]
    engine = ScriptedEngine(always("[1] > [2] > [3] > [4]"), context_tokens=500)
    ListwiseReranker(engine).rerank(QUERY, make_hits(texts))
    # 300 and 150 words of each do not fit beside 32 tokens of the answer; 75 do.
    assert [len(text.split()) for text in shown(engine.asked[0])] == [75] * 4
    with pytest.raises(ContextLengthError, match="4 passages of 10 words do not fit into the 90 tokens"):
        ListwiseReranker(ScriptedEngine(always(""), context_tokens=90)).rerank(QUERY, make_hits(texts))


def test_a_picture_is_refused() -> None:
    hit = make_hits(["a"])[0]
    picture = PageImage("scan.pdf", 4, 1, 1, load=lambda: pytest.fail("not to be loaded"))
    hits = [replace(hit, passage=replace(hit.passage, document="scan.pdf", page=4, text="", image=picture))]
    with pytest.raises(ConfigError, match=r"page 4 of scan\.pdf was found by its picture"):
        ListwiseReranker(ScriptedEngine(by_number)).rerank(QUERY, hits)


def test_what_cannot_work_is_refused() -> None:
    engine = ScriptedEngine(by_number)
    with pytest.raises(ConfigError, match="window = 4 and step = 4"):
        ListwiseReranker(engine, window=4, step=4)
    engine.name = "extractive"
    with pytest.raises(ConfigError, match="'extractive' has no language model"):
        ListwiseReranker(engine)


def test_the_settings_make_it_of_the_engine_that_answers() -> None:
    engine = ScriptedEngine(by_number)
    listwise = make_reranker(parse_config({"rerank": {"kind": "llm-listwise"}}), lambda: engine)
    assert isinstance(listwise, ListwiseReranker)
    assert [hit.passage.text for hit in listwise.rerank(QUERY, make_hits(["1", "2"]))] == ["2", "1"]
    assert len(engine.asked) == 1
    assert isinstance(make_reranker(parse_config({"rerank": {"kind": "llm-yes"}}), lambda: engine), YesReranker)
    with pytest.raises(ConfigError, match=r"clear rerank\.model \('x'\)"):
        make_reranker(parse_config({"rerank": {"kind": "llm-listwise", "model": "x"}}), lambda: engine)
