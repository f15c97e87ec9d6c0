"""What a pipeline searches for, and what it writes into the answer's record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from ragkit import Corpus
from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError
from ragkit.pipeline import Pipeline
from ragkit.records import Answer, AskRequest, ChatMessage, Found, Hit, Usage
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf
from tests.serve.house import two_hits, two_page_store
from tests.serve.picture_house import SeeingEngine

T = TypeVar("T")
THREADS = ThreadPoolExecutor(2)

TALK = (ChatMessage("user", "How deep is Lake Ohm?"), ChatMessage("assistant", "41 metres [1]."))
INK = {"left": b"0 0 306 792 re f", "right": b"306 0 306 792 re f", "top": b"0 396 612 396 re f"}


def pipeline(engine: Any, asked: list[AskRequest], **settings: Any) -> Pipeline:
    def search(request: AskRequest, then: Callable[[list[Hit]], T]) -> Future[T]:
        asked.append(request)
        return THREADS.submit(lambda: then(two_hits()))

    return Pipeline("c", two_page_store(), search, lambda: (engine, None), GenerationConfig(**settings))


def both_ways(pipe: Pipeline, request: AskRequest) -> list[Answer]:
    async def streamed() -> Answer:
        events = [event async for event in pipe.stream(request)]
        assert all(event.answer is None for event in events[:-1])
        assert events[-1].answer is not None
        return events[-1].answer

    return [asyncio.run(pipe.ask(request)), asyncio.run(streamed())]


def test_the_record_says_what_was_searched_for() -> None:
    replies = ["Who owns Lake Ohm?", "It is 41 metres deep [1]."] * 2
    asked: list[AskRequest] = []
    pipe = pipeline(SeeingEngine(replies), asked, condense="llm")
    for answer in both_ways(pipe, AskRequest("Who owns it?", TALK)):
        assert (answer.question, answer.searched) == ("Who owns it?", "Who owns Lake Ohm?")
        assert list(answer.timings_ms) == ["condense", "retrieve", "generate", "cite"]
        # Two calls of five tokens read and six written.
        assert (answer.usage, answer.notes) == (Usage(10, 12), ())
    assert [request.question for request in asked] == ["Who owns Lake Ohm?"] * 2
    assert asked[0].history == TALK


def test_the_engine_is_asked_the_last_message_with_all_that_went_before() -> None:
    engine = SeeingEngine(["Who owns Lake Ohm?", "It is 41 metres deep [1]."])
    asyncio.run(pipeline(engine, [], condense="llm").ask(AskRequest("Who owns it?", TALK)))
    assert engine.last.content.endswith("Question: Who owns it?")
    assert [message.content for message in engine.asked[1].messages[1:-1]] == [t.content for t in TALK]


def test_by_default_nothing_is_condensed() -> None:
    asked: list[AskRequest] = []
    pipe = pipeline(SeeingEngine(["It is 41 metres deep [1]."]), asked)
    answer = asyncio.run(pipe.ask(AskRequest("Who owns it?", TALK)))
    assert (answer.searched, asked[0].question) == ("Who owns it?", "Who owns it?")
    assert list(answer.timings_ms) == ["retrieve", "generate", "cite"]


def test_a_short_answer_wakes_no_thread_but_that_of_its_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("another thread")

    monkeypatch.setattr(asyncio, "to_thread", refuse)
    monkeypatch.setattr("ragkit.pipeline.in_loading_thread", refuse)
    engine = SeeingEngine(["It is 41 metres deep [1]."] * 2)

    def search(request: AskRequest, then: Callable[[list[Hit]], T]) -> Future[T]:
        return THREADS.submit(lambda: then(two_hits()))

    pipe = Pipeline(
        "c", two_page_store(), search, lambda: (engine, None), GenerationConfig(), is_loaded=lambda: True
    )
    for answer in both_ways(pipe, AskRequest("How deep is Lake Ohm?")):
        assert [citation.quote for citation in answer.citations] == ["It is 41 metres deep."]


def test_hits_that_were_found_before_are_not_searched_for() -> None:
    asked: list[AskRequest] = []
    pipe = pipeline(SeeingEngine(["It is 41 metres deep [1]."]), asked, condense="llm")
    answer = asyncio.run(pipe.ask(AskRequest("Who owns it?", TALK, found=Found(tuple(two_hits())))))
    assert (asked, answer.searched, answer.found) == ([], "", True)


def test_an_image_that_nothing_compares_is_said_not_to_be_searched_with() -> None:
    pipe = pipeline(SeeingEngine(["It is 41 metres deep [1]."] * 2), [])
    for answer in both_ways(pipe, AskRequest("What is it?", images=(Image.new("RGB", (9, 9)),))):
        (note,) = answer.notes
        assert note.startswith("What the question shows as an image was not searched with")


def half_black(side: str) -> Image.Image:
    image = Image.new("RGB", (306, 396), "white")
    image.paste((0, 0, 0), (0, 0, 153, 396) if side == "left" else (153, 0, 306, 396))
    return image


@pytest.mark.parametrize("embed", ["image", "both"])
def test_an_image_finds_the_page_that_looks_like_it(tmp_path: Path, embed: str) -> None:
    (tmp_path / "docs").mkdir()
    texts = {"left": "alpha beta gamma.", "right": "delta eta iota.", "top": "kappa nu rho."}
    pages = [PdfPage(text=texts[place], drawing=ink) for place, ink in INK.items()]
    make_pdf(tmp_path / "docs" / "a.pdf", pages)
    engine = SeeingEngine(["So it is [1]."] * 2)
    with Corpus.open(
        tmp_path / "c",
        config={"pages": {"embed": embed, "dpi": 36}, "generation": {"num_pages": 1}},
        embedder=HashEmbedder() if embed == "both" else None,
        page_embedder=ThumbnailEmbedder(),
        engine=engine,
    ) as corpus:
        corpus.add(tmp_path / "docs")
        for place, number in (("right", 2), ("left", 1)):
            # Where texts are searched too, they speak for the same page.
            question = "zzz" if embed == "image" else texts[place]
            answer = asyncio.run(corpus.answerer.ask(AskRequest(question, images=(half_black(place),))))
            assert (answer.hits[0].passage.page, answer.searched) == (number, question)
            assert not any("not searched with" in note for note in answer.notes)


def test_a_position_curve_that_cannot_be_read_is_found_at_the_start(tmp_path: Path) -> None:
    config = {"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}
    missing = {"generation": {"position_curve": str(tmp_path / "curve.json")}}
    with (
        Corpus.open(tmp_path / "c", config=config | missing) as corpus,
        pytest.raises(ConfigError, match="cannot read the position curve"),
    ):
        corpus.load()
