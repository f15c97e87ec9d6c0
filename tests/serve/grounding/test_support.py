from __future__ import annotations

import pytest

from ragkit.serve.grounding.support import Quote, Support
from tests.serve.house import BRIDGE, LAKE, make_source

SOURCES = (make_source(1, LAKE), make_source(2, BRIDGE))


def text_of(quote: Quote | None) -> str | None:
    return None if quote is None else quote.source.hit.passage.text[quote.start : quote.end]


def test_the_quote_is_the_unit_with_the_sentences_words() -> None:
    support = Support(SOURCES)
    assert text_of(support.quote("Its depth is 41 metres.", 1)) == "It is 41 metres deep."
    assert text_of(support.quote("It was designed by Clara Venn.", 2)) == "Clara Venn designed it."


def test_the_quote_takes_in_a_neighbour_that_adds_words() -> None:
    quote = Support(SOURCES).quote("Clara Venn designed the Stone Bridge, opened in 1874.", 2)
    assert text_of(quote) == "The Stone Bridge was opened in 1874. Clara Venn designed it."


def test_a_sentence_without_a_shared_word_quotes_the_passage() -> None:
    assert text_of(Support(SOURCES).quote("Das Gewässer reicht weit hinab.", 1)) == LAKE


TWICE = "The pump draws 40 watts at rest. At rest the pump draws 40 watts. It stands in hall 3."
SPLIT = "It runs at 1.5 bar. It runs at 1. That is all there is."
LAID_OUT = "First line.\nThe valve\tis opened\u3000by hand\nor by a motor. Last line."
HEADED = "Year and sum of sales\n2019 5\nYear and sum of sales\n2020 6"
MARKED = "See [12]. The rotor has three blades [3]. They turn."
LONGER_MARK = "As [source 1] has it. The rotor has three blades. They turn."


@pytest.mark.parametrize(
    ("text", "said", "quoted"),
    [
        (TWICE, "At rest the pump draws", "At rest the pump draws 40 watts."),
        (TWICE, "40 watts at rest. At rest", "The pump draws 40 watts at rest. At rest the pump draws 40 watts."),
        (SPLIT, "It runs at 1.", "It runs at 1."),
        (LAID_OUT, "valve is opened by hand or", "The valve\tis opened\u3000by hand\nor by a motor."),
        (MARKED, "rotor has three blades (3).", "The rotor has three blades [3]."),
        (LONGER_MARK, "rotor has three blades. They", "The rotor has three blades. They turn."),
    ],
)
def test_what_stands_in_the_source_word_for_word_is_quoted_from_there(text: str, said: str, quoted: str) -> None:
    support = Support([make_source(1, text)])
    assert text_of(support.word_for_word(said, 1)) == quoted
    assert text_of(support.quote(said, 1)) == quoted


def test_of_two_places_the_one_before_a_character_is_taken() -> None:
    support = Support([make_source(1, HEADED)])
    second = HEADED.index("Year", 1)
    for before, start in ((None, 0), (second, 0), (len(HEADED), second)):
        quote = support.word_for_word("and sum of sales", 1, before)
        assert quote is not None
        assert quote.start == start


@pytest.mark.parametrize(
    "said", ["hall 3.", "", "At rest the pump draw", "t rest the pump draws", "draws at rest 40 watts"]
)
def test_few_words_parts_of_words_and_others_are_not_word_for_word(said: str) -> None:
    assert Support([make_source(1, TWICE)]).word_for_word(said, 1) is None


def test_sentences_are_attributed_to_what_supports_them() -> None:
    sentences = [
        "Lake Ohm is 41 metres deep.",
        "The bridge was designed by Clara Venn.",
        "Lake Ohm is 42 metres deep.",
        "Volcanoes erupt because of gas pressure.",
        "Yes.",
    ]
    found = Support(SOURCES).attribute(sentences)
    assert [quote and quote.source.marker for quote in found] == [1, 2, None, None, None]
    assert text_of(found[0]) == "Lake Ohm lies in the north. It is 41 metres deep."
