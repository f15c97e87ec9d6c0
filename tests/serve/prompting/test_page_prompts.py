"""What an engine sees of page pictures, and what becomes of its answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError, ImageInputError
from ragkit.records import Answer, AnswerEvent, AskRequest, ChatMessage, Hit, ImageLimits, Usage
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.prompting.page_concatenation import concatenate_horizontally
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import (
    FakeStore,
    generate_answer,
    make_hit,
    make_page,
    stream_answer,
    two_hits,
    two_page_store,
)
from tests.serve.picture_house import (
    BLUE,
    GREEN,
    RED,
    SeeingEngine,
    broken_image,
    page_image,
    picture_hit,
    picture_store,
    three_pictures,
)

ASK = AskRequest("How deep is Lake Ohm?")
OWN = Image.new("RGB", (9, 9), (1, 2, 3))


def ask(
    engine: Any,
    hits: list[Hit] | None = None,
    store: FakeStore | None = None,
    request: AskRequest = ASK,
    **settings: Any,
) -> Answer:
    config = GenerationConfig(**settings)
    given = three_pictures() if hits is None else hits
    return asyncio.run(generate_answer(request, given, engine, store or picture_store(), None, None, config))


def ask_streamed(engine: Any, **settings: Any) -> tuple[str, Answer]:
    async def collect() -> list[AnswerEvent]:
        config = GenerationConfig(**settings)
        events = stream_answer(ASK, three_pictures(), engine, picture_store(), None, None, config)
        return [event async for event in events]

    *pieces, last = asyncio.run(collect())
    assert last.answer is not None
    return "".join(piece.delta for piece in pieces), last.answer


def colours(message: ChatMessage) -> list[tuple[tuple[int, int], Any]]:
    return [(image.size, image.getpixel((0, 0))) for image in message.images]


def test_pages_are_shown_one_by_one_in_rank_order() -> None:
    engine = SeeingEngine(["It is 41 metres deep [2]."])
    answer = ask(engine)
    assert colours(engine.last) == [((40, 60), RED), ((80, 60), GREEN), ((40, 30), BLUE)]
    assert engine.last.content == (
        "[1] a.pdf, page 1 (picture 1)\n\n[2] b.pdf, page 4 (picture 2)\n\n[3] a.pdf, page 2 (picture 3)\n\n"
        "Question: How deep is Lake Ohm?"
    )
    assert "read it in the picture" in engine.asked[0].messages[0].content
    (citation,) = answer.citations
    assert (answer.text, answer.found, answer.notes) == ("It is 41 metres deep [2].", True, ())
    assert (citation.document, citation.page, citation.quote, citation.boxes) == ("b.pdf", 4, "", ())
    assert (citation.start, citation.end, citation.score) == (0, 25, 0.5)


def test_a_mark_on_a_picture_quotes_the_pages_text_where_it_is_known_and_has_it() -> None:
    store = picture_store(b4="Lake Ohm. It is 41 metres deep.", a1="Lake Ohm is 99 metres deep.")
    (known,) = ask(SeeingEngine(["It is 41 metres deep [2]."]), store=store).citations
    assert (known.quote, known.page_start, len(known.boxes)) == ("It is 41 metres deep.", 10, 5)
    (other,) = ask(SeeingEngine(["It is 41 metres deep [1]."]), store=store).citations
    assert (other.quote, other.page_start, other.page_end, other.boxes) == ("", 0, 0, ())


def test_concatenation_shows_one_image() -> None:
    engine = SeeingEngine(["It is 41 metres deep [3]."])
    answer = ask(engine, show="concatenation")
    expected = concatenate_horizontally([hit.passage.image.load() for hit in three_pictures()])  # type: ignore[union-attr]
    assert [image.tobytes() for image in engine.last.images] == [expected.tobytes()]
    assert expected.size == (40 + 80 + 80, 60)
    assert "[2] b.pdf, page 4 (page 2 from the left in picture 1)" in engine.last.content
    assert [(c.document, c.page) for c in answer.citations] == [("a.pdf", 2)]
    one = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(1, 3000))
    ask(one, show="concatenation")
    ((width, height),) = [image.size for image in one.last.images]
    assert width * height <= 3000


def test_weighted_selection_keeps_the_surest_answer() -> None:
    engine = SeeingEngine(["Nine [1].", "Ten [1].", "Eleven"], [(-2.0, -1.0), (-0.1,), (-3.0,)])
    answer = ask(engine, show="weighted-selection")
    assert [request.logprobs for request in engine.asked] == [True] * 3
    assert [colours(request.messages[-1]) for request in engine.asked] == [
        [((40, 60), RED)],
        [((80, 60), GREEN)],
        [((40, 30), BLUE)],
    ]
    assert (answer.text, answer.usage) == ("Ten [1].", Usage(15, 18))
    assert [(c.document, c.page) for c in answer.citations] == [("b.pdf", 4)]
    # Softmax of 0.75, 0.5, 0.25 is 0.4191, 0.3264, 0.2542; times exp of the means -1.5, -0.1, -3.
    assert answer.notes == (
        "Of 3 pages asked one by one, the answer from b.pdf page 4 was kept: "
        "the surest (weights 0.0935, 0.295, 0.0127).",
    )
    streamed, same = ask_streamed(replace(engine, asked=[]), show="weighted-selection")
    assert (streamed, same.citations) == (answer.text, answer.citations)


def test_weighted_selection_passes_over_pages_without_an_answer() -> None:
    engine = SeeingEngine([NOT_FOUND_TEXT, "Ten.", ""], [(-0.001,), (-5.0,), ()])
    answer = ask(engine, show="weighted-selection")
    assert (answer.text, [c.document for c in answer.citations]) == ("Ten. [1]", ["b.pdf"])
    none = ask(SeeingEngine([NOT_FOUND_TEXT] * 3, [(-1.0,)] * 3), show="weighted-selection")
    assert (none.found, none.text) == (False, NOT_FOUND_TEXT)


def test_weighted_selection_without_logprobs_says_so() -> None:
    replies = ["Nine [1].", "Ten [1].", "Eleven [1]."]
    answer = ask(SeeingEngine(replies, [None, None, None]), show="weighted-selection")
    assert answer.text == "Nine [1]."
    assert "that of the best retrieval score, because the engine gave no log-probabilities" in answer.notes[0]
    some = ask(SeeingEngine(replies, [(-9.0,), None, (-1.0,)]), show="weighted-selection")
    assert some.text == "Eleven [1]."
    assert "1 without log-probabilities passed over" in some.notes[0]


@pytest.mark.parametrize("scores", [(27.0, 14.0), (float("nan"), 0.5), (float("inf"), 0.5), (0.2, float("nan"))])
def test_no_retrieval_score_decides_alone(scores: tuple[float, float]) -> None:
    hits = [replace(hit, score=score) for hit, score in zip(three_pictures(), scores, strict=False)]
    engine = SeeingEngine(["Unsure [1].", "Sure [1]."], [(-4.0,), (-0.1,)])
    assert ask(engine, hits, show="weighted-selection").text == "Sure [1]."


def test_an_answer_without_marks_from_one_page_is_attributed_to_it() -> None:
    answer = ask(SeeingEngine(["41 metres"]), three_pictures()[:1])
    (citation,) = answer.citations
    assert (answer.text, answer.found, citation.document, citation.quote) == ("41 metres [1]", True, "a.pdf", "")
    assert "attributed unchecked" in answer.notes[0]


def test_an_answer_without_marks_from_several_pages_is_attributed_to_none() -> None:
    streamed, answer = ask_streamed(SeeingEngine(["41 metres"]))
    assert (streamed, answer.text, answer.found, answer.citations) == ("41 metres", "41 metres", True, ())
    assert "from which source the answer comes is not known" in answer.notes[0]
    assert "a.pdf page 1, b.pdf page 4, a.pdf page 2" in answer.notes[0]


def test_known_text_of_a_pictured_page_finds_the_source_of_an_answer_without_marks() -> None:
    answer = ask(SeeingEngine(["It is 41 metres deep."]), store=picture_store(b4="It is 41 metres deep."))
    assert answer.text == "It is 41 metres deep. [2]"
    assert answer.citations[0].quote == "It is 41 metres deep."


@pytest.mark.parametrize("show", ["images", "auto"])
def test_text_that_no_page_supports_is_not_backed_where_the_text_of_all_is_known(show: str) -> None:
    store = picture_store(a1="The lake is 41 metres deep.", b4="Bridges.", a2="Other.")
    answer = ask(SeeingEngine(["The moon is made of green cheese."]), store=store, show=show)
    assert (answer.text, answer.found) == (NOT_FOUND_TEXT, False)
    one = ask(SeeingEngine(["Green cheese it is."]), [*three_pictures()[:1], *two_hits()])
    assert "it saw the pictures of 1 page (a.pdf page 1)" in one.notes[0]


@pytest.mark.parametrize("reply", ["", NOT_FOUND_TEXT])
def test_pictures_do_not_make_an_answer_of_none(reply: str) -> None:
    answer = ask(SeeingEngine([reply]))
    assert (answer.text, answer.found, answer.citations) == (NOT_FOUND_TEXT, False, ())


def test_a_text_engine_says_that_it_cannot_see() -> None:
    answer = ask(ExtractiveEngine())
    assert (answer.text, answer.found) == (NOT_FOUND_TEXT, False)
    assert "a.pdf page 1, b.pdf page 4, a.pdf page 2 are pictures without text" in answer.notes[-1]
    assert '[generation] engine = "openai" with max_images, or "transformers"' in answer.notes[-1]


def test_a_text_engine_reads_the_text_of_pages_found_by_their_pictures() -> None:
    answer = ask(ExtractiveEngine(), store=picture_store(b4="Pike live here. Lake Ohm is 41 metres deep."))
    assert answer.text == "Lake Ohm is 41 metres deep. [1]"
    (citation,) = answer.citations
    assert (citation.document, citation.quote, len(citation.boxes)) == ("b.pdf", "Lake Ohm is 41 metres deep.", 6)
    assert "a.pdf page 1, a.pdf page 2 are pictures without text" in answer.notes[-1]


def test_seeing_engines_can_be_kept_to_text() -> None:
    engine = SeeingEngine(["It is 41 metres deep [1]."])
    answer = ask(engine, [*two_hits(), *three_pictures()[:1]], two_page_store(), show="text")
    assert engine.last.images == ()
    assert 'show = "auto" shows pictures' in answer.notes[-1]


@pytest.mark.parametrize("show", ["images", "concatenation", "weighted-selection"])
def test_pictures_for_an_engine_that_reads_none_are_a_wrong_setting(show: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"generation.show = '{show}', but the engine extractive reads text alone"
    ):
        ask(ExtractiveEngine(), show=show)


def mixed() -> tuple[list[Hit], FakeStore]:
    """Text and picture of a.pdf page 1, text of a page that can be drawn, text of one that cannot."""
    hits = [
        make_hit("a.pdf", "Ohm is deep.", score=0.9),
        picture_hit(page_image("a.pdf", 1, RED, (40, 60)), 0.8),
        make_hit("b.pdf", "Venn built it.", page=4, score=0.7),
        make_hit("notes.md", "It rains.", score=0.6),
    ]
    pages = {("a.pdf", 1): make_page("Ohm is deep."), ("b.pdf", 4): make_page("Venn built it.", 4)}
    pages["notes.md", 1] = make_page("It rains.")
    return hits, FakeStore(pages, images={("b.pdf", 4): page_image("b.pdf", 4, GREEN, (80, 60))})


def test_auto_shows_pictures_with_the_text_that_was_found() -> None:
    engine = SeeingEngine(["Ohm is deep [3]. It rains [5]."])
    answer = ask(engine, *mixed())
    assert colours(engine.last) == [((40, 60), RED), ((80, 60), GREEN)]
    headings = [line for line in engine.last.content.split("\n") if line.startswith("[")]
    assert headings == [
        "[1] a.pdf, page 1 (picture 1)",
        "[2] b.pdf, page 4 (picture 2)",
        "[3] a.pdf, page 1",
        "[4] b.pdf, page 4",
        "[5] notes.md, page 1",
    ]
    assert [(c.document, c.quote) for c in answer.citations] == [
        ("a.pdf", "Ohm is deep."),
        ("notes.md", "It rains."),
    ]


def test_images_shows_text_only_of_pages_without_a_picture() -> None:
    engine = SeeingEngine(["It rains [3]."])
    ask(engine, *mixed(), show="images")
    headings = [line for line in engine.last.content.split("\n") if line.startswith("[")]
    assert headings == ["[1] a.pdf, page 1 (picture 1)", "[2] b.pdf, page 4 (picture 2)", "[3] notes.md, page 1"]


@pytest.mark.parametrize("limit", [{"num_pages": 1}, {"max_images": 1}])
def test_pages_that_are_one_too_many_keep_their_text(limit: dict[str, int]) -> None:
    engine = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(limit.pop("max_images", 8), 1_000_000))
    ask(engine, *mixed(), show="images", **limit)
    headings = [line for line in engine.last.content.split("\n") if line.startswith("[")]
    assert headings == ["[1] a.pdf, page 1 (picture 1)", "[2] b.pdf, page 4", "[3] notes.md, page 1"]


def test_no_page_is_shown_as_text_twice() -> None:
    once, again = (picture_hit(page_image("a.pdf", 1, RED, (40, 60)), key=key) for key in (1, 2))
    store = picture_store(a1="Ohm is deep.")
    text_engine = SeeingEngine(["Yes [1]."], image_limits=None)
    ask(text_engine, [once, again], store)
    assert text_engine.last.content.count("Ohm is deep.") == 1
    engine = SeeingEngine(["Yes [2]."])
    broken = [picture_hit(broken_image("a.pdf", 1)), make_hit("a.pdf", "Ohm is deep."), *three_pictures()[1:]]
    ask(engine, broken, store)
    assert engine.last.content.count("Ohm is deep.") == 1


def test_text_corpora_are_shown_as_text_by_default() -> None:
    engine = SeeingEngine(["It is 41 metres deep [1]."])
    answer = ask(engine, two_hits(), two_page_store())
    assert (engine.last.images, answer.notes) == ((), ())
    assert "read it in the picture" not in engine.asked[0].messages[0].content


def test_pages_beyond_the_engines_limit_are_named() -> None:
    engine = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(2, 1_000_000))
    answer = ask(engine)
    assert len(engine.last.images) == 2
    assert answer.notes == (
        "The engine takes 2 pages as pictures in this request (max_images); not shown as pictures: a.pdf page 2.",
    )


def test_pages_beyond_num_pages_are_counted() -> None:
    engine = SeeingEngine(["Yes [1]."])
    answer = ask(engine, num_pages=1)
    assert len(engine.last.images) == 1
    assert answer.notes == ("Only 1 of the 3 pages found were shown as pictures (num_pages).",)


def test_a_picture_that_cannot_be_loaded_is_named(caplog: pytest.LogCaptureFixture) -> None:
    hits = [picture_hit(broken_image("a.pdf", 1)), picture_hit(broken_image("b.pdf", 4)), *three_pictures()[2:]]
    engine = SeeingEngine(["Yes [1]."])
    answer = ask(engine, hits, picture_store(b4="Ohm is deep."))
    assert colours(engine.last) == [((40, 30), BLUE)]
    assert "Ohm is deep." in engine.last.content
    assert answer.notes == (
        "The picture of a.pdf page 1 cannot be loaded (the log says why); it was left out.",
        "The picture of b.pdf page 4 cannot be loaded (the log says why); its text was shown instead.",
    )
    assert "the picture of b.pdf page 4 cannot be loaded: /srv/documents/b.pdf is gone" in caplog.text


def test_pictures_are_scaled_to_what_the_engine_accepts() -> None:
    engine = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(8, 1200))
    answer = ask(engine)
    assert [size for size, _ in colours(engine.last)] == [(28, 42), (40, 30), (40, 30)]
    assert answer.notes == ()


def test_pictures_are_scaled_further_before_one_is_left_out() -> None:
    hits = [picture_hit(page_image("a.pdf", n, RED, (1000, 2000)), key=n) for n in (1, 2)]
    # Two pages of two megapixels are 4,000 tokens, one and a half megapixels each 3,000.
    limits = ImageLimits(8, 2_000_000)
    engine = SeeingEngine(["Yes [1]."], image_limits=limits, tokens_per_pixel=1e-3, context_tokens=512 + 3200)
    answer = ask(engine, hits, FakeStore({}))
    assert [size for size, _ in colours(engine.last)] == [(866, 1732)] * 2
    assert answer.notes[-1] == "Pictures were scaled down to 1500000 pixels each to fit the engine's context."
    small = SeeingEngine(["Yes [1]."], image_limits=limits, tokens_per_pixel=1e-3, context_tokens=512 + 220)
    ask(small, hits, FakeStore({}))
    assert [size for size, _ in colours(small.last)] == [(223, 447)] * 2


def small_context(room: int, **fields: Any) -> SeeingEngine:
    return SeeingEngine(["Yes [1]."], tokens_per_pixel=1e-3, context_tokens=512 + room, **fields)


def test_a_page_whose_picture_does_not_fit_is_shown_as_text() -> None:
    pages = [page_image("a.pdf", n, RED, (1000, 2000)) for n in (1, 2)]
    store = FakeStore({("a.pdf", n): make_page(f"Text of page {n}.", n) for n in (1, 2)})
    engine = small_context(150)
    answer = ask(engine, [picture_hit(page, key=page.page) for page in pages], store)
    assert len(engine.last.images) == 1
    assert engine.last.content.startswith(
        '[1] a.pdf, page 1 (picture 1)\n\n[2] a.pdf, page 2\n"""\nText of page 2.'
    )
    assert "takes 1 page as pictures in this request (context_tokens)" in answer.notes[0]
    assert "not shown as pictures: a.pdf page 2" in answer.notes[0]
    none = small_context(50)
    ask(none, [picture_hit(page, key=page.page) for page in pages], store)
    assert none.last.images == ()
    assert "Text of page 1." in none.last.content


def test_a_shorter_answer_makes_room_for_the_last_picture() -> None:
    engine = small_context(50)
    answer = ask(engine, [picture_hit(page_image("a.pdf", 1, RED, (1000, 2000)))], FakeStore({}))
    # A half of 562 tokens is 281: 10 of the prompt and 271 of the picture, of a quarter of a megapixel at most.
    assert [size for size, _ in colours(engine.last)] == [(353, 707)]
    assert engine.asked[0].sampling.max_tokens == 562 - 10 - 249
    assert any("303 tokens instead of 512" in note for note in answer.notes)


def test_a_page_that_cannot_be_made_to_fit_is_said_to_be_left_out() -> None:
    engine = SeeingEngine([], tokens_per_pixel=1.0, context_tokens=600)
    answer = ask(engine, [picture_hit(page_image("a.pdf", 1, RED, (1000, 2000)))], FakeStore({}))
    assert (answer.text, answer.found, engine.asked) == (NOT_FOUND_TEXT, False, [])
    assert "No source fits into the 600 tokens of seeing beside the question" in answer.notes[0]
    assert [(drop.rank, drop.reason) for drop in answer.packing.dropped] == [(1, "does not fit")]


def test_only_what_was_scaled_is_said_to_be() -> None:
    small = [picture_hit(page_image("a.pdf", n, RED, (100, 100)), key=n) for n in (1, 2)]
    engine = small_context(25)
    answer = ask(engine, small, FakeStore({}))
    assert len(engine.last.images) == 1
    assert not any("scaled" in note for note in answer.notes)


def test_the_askers_image_is_scaled_to_the_context() -> None:
    asked = AskRequest("And?", images=(Image.new("RGB", (1000, 1000)),))
    engine = small_context(600)
    answer = ask(engine, request=asked)
    assert engine.last.images[-1].size == (707, 707)
    assert "scaled down to 500000 pixels" in answer.notes[-1]


def test_joined_pages_are_scaled_once_to_what_the_context_holds() -> None:
    hits = [picture_hit(page_image("a.pdf", n, colour, (300, 400)), key=n) for n, colour in ((1, RED), (2, BLUE))]
    engine = small_context(190)
    ask(engine, hits, FakeStore({}), show="concatenation")
    (joined,) = engine.last.images
    # 600 x 400 is 240 tokens and the prompt's own 10; 180,000 pixels are 180. Half of 519 is 259.
    assert joined.size == (519, 346)
    assert [joined.getpixel((x, 100)) for x in (0, 258, 259, 518)] == [RED, RED, BLUE, BLUE]


def test_the_askers_own_images_come_last_and_count() -> None:
    engine = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(5, 1_000_000))
    earlier = ChatMessage("user", "Look.", (Image.new("RGB", (2000, 1000)),))
    answer = ask(engine, request=AskRequest("And?", (earlier,), images=(OWN,)))
    assert engine.asked[0].messages[1].content == "Look."
    assert [image.size for image in engine.asked[0].messages[1].images] == [(1414, 707)]
    assert colours(engine.last) == [((40, 60), RED), ((80, 60), GREEN), ((40, 30), BLUE), ((9, 9), (1, 2, 3))]
    assert engine.last.content.endswith("Picture 4 belongs to the question.\n\nQuestion: And?")
    assert answer.notes == ()
    few = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(3, 1_000_000))
    answer = ask(few, request=AskRequest("And?", images=(OWN,)))
    assert colours(few.last) == [((40, 60), RED), ((80, 60), GREEN), ((9, 9), (1, 2, 3))]
    assert "not shown as pictures: a.pdf page 2" in answer.notes[0]


def test_images_of_earlier_turns_make_way_for_pages() -> None:
    earlier = tuple(ChatMessage("user", f"Look {n}.", (Image.new("RGB", (n, 1)),)) for n in (1, 2))
    for most, shown, kept in ((1, 1, []), (4, 3, [2]), (5, 3, [1, 2])):
        engine = SeeingEngine(["Yes [1]."], image_limits=ImageLimits(most, 1_000_000))
        answer = ask(engine, request=AskRequest("And?", earlier))
        assert len(engine.last.images) == shown
        assert [image.width for m in engine.asked[0].messages[:-1] for image in m.images] == kept
        assert ("left out: the engine seeing takes" in " ".join(answer.notes)) == (len(kept) < 2)
    assert ask(ExtractiveEngine(), two_hits(), two_page_store(), AskRequest("How deep is it?", earlier)).found


def test_the_askers_images_are_refused_where_nobody_sees_them() -> None:
    asked = AskRequest("And?", images=(OWN,))
    with pytest.raises(ImageInputError, match="the request has an image and extractive reads text alone"):
        ask(ExtractiveEngine(), request=asked)
    with pytest.raises(ImageInputError, match="the request has 2 images and extractive reads text alone"):
        ask(ExtractiveEngine(), request=replace(asked, images=(OWN, OWN)))


def test_of_more_images_than_the_engine_reads_the_first_are_shown() -> None:
    others = tuple(Image.new("RGB", (n, n)) for n in (5, 6, 7))
    engine = SeeingEngine(["It is 41 metres deep [1]."], image_limits=ImageLimits(2, 1_000_000))
    answer = ask(engine, two_hits(), two_page_store(), AskRequest("And?", images=others))
    assert [image.size for image in engine.last.images] == [(5, 5), (6, 6)]
    assert answer.notes == (
        "Of the question's 3 images the first 2 were shown: seeing reads no more (max_images).",
    )
