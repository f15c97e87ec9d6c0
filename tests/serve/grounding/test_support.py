from __future__ import annotations

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
