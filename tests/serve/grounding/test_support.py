from __future__ import annotations

from collections.abc import Sequence

import pytest

from ragkit.records import FloatArray
from ragkit.serve.grounding.content_words import ContentWords
from ragkit.serve.grounding.similarity import _PAIRS
from ragkit.serve.grounding.support import Quote, Support
from tests.serve.grounding.test_similarity import PlannedEmbedder
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
GOES_ON = "The pump draws 40 watts at rest. At rest the pump draws 40 watts, which is little."
SPLIT = "It runs at 1.5 bar. It runs at 1. That is all there is."
LAID_OUT = "First line.\nThe valve\tis \u3000opened by hand \n or by a motor. Last line."
MARKED = "See [12]. The rotor has three blades [3]. They turn."
LONGER_MARK = "As [source 1] has it. The rotor has three blades. They turn."


@pytest.mark.parametrize(
    ("text", "said", "quoted"),
    [
        (TWICE, "At rest the pump draws", "At rest the pump draws 40 watts."),
        (TWICE, "at rest. At rest the", "The pump draws 40 watts at rest. At rest the pump draws 40 watts."),
        (TWICE, "watts. It stands in hall 3", "At rest the pump draws 40 watts. It stands in hall 3."),
        (GOES_ON, "At rest the pump draws 40 watts.", "At rest the pump draws 40 watts, which is little."),
        (SPLIT, "It runs at 1.", "It runs at 1."),
        (SPLIT, "bar. It runs at 1!", "It runs at 1.5 bar. It runs at 1."),
        ("It is about 5% of it. Now it is about 5.", "it is about 5.", "Now it is about 5."),
        (
            "So go to the expose\u0301. Then go to the expose, too.",
            "go to the expose.",
            "Then go to the expose, too.",
        ),
        (LAID_OUT, "valve is opened by hand or", "The valve\tis \u3000opened by hand \n or by a motor."),
        (MARKED, "rotor has three blades (3).", "The rotor has three blades [3]."),
        (LONGER_MARK, "rotor has three blades. They", "The rotor has three blades. They turn."),
    ],
)
def test_what_stands_in_the_source_word_for_word_is_quoted_from_there(text: str, said: str, quoted: str) -> None:
    support = Support([make_source(1, text)])
    assert text_of(support.word_for_word(said, 1)) == quoted
    assert text_of(support.quote(said, 1)) == quoted


@pytest.mark.parametrize(
    "said",
    [
        "hall 3.",
        "draws 40 watts",
        "",
        "…",
        "a b c .",
        "At rest the pump draw",
        "t rest the pump draws",
        "the pump at rest",
    ],
)
def test_few_words_parts_of_words_and_others_are_not_word_for_word(said: str) -> None:
    assert Support([make_source(1, f"{TWICE} Then a b c are.")]).word_for_word(said, 1) is None


def test_a_number_is_not_a_longer_one_that_begins_with_it() -> None:
    assert Support([make_source(1, "Today it runs at 1.5 bar.")]).word_for_word("it runs at 1.", 1) is None


HEADED = "Sum of all sales\n2019 5\nSum of all sales\n2020 6"


def test_of_heads_the_one_above_is_quoted_and_of_words_in_a_row_the_first() -> None:
    support, second = Support([make_source(1, HEADED)]), HEADED.index("Sum", 1)
    for before, start in ((None, 0), (second, 0), (len(HEADED), second)):
        quote = support.word_for_word("Sum of all sales", 1, before)
        assert quote is not None
        assert quote.start == start
    twice = Support([make_source(1, TWICE.replace("At rest", "By night"))])
    assert (
        text_of(twice.word_for_word("the pump draws 40 watts", 1, len(TWICE)))
        == "By night the pump draws 40 watts."
    )
    again = Support([make_source(1, f"So the pump draws 40 watts. {TWICE}")])
    assert text_of(again.word_for_word("the pump draws 40 watts", 1, 100)) == "So the pump draws 40 watts."


def test_what_is_said_word_for_word_needs_no_content_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> ContentWords:
        raise AssertionError(given)

    monkeypatch.setattr("ragkit.serve.grounding.support.ContentWords", refuse)
    support = Support(SOURCES)
    assert text_of(support.quote("It is 41 metres deep.", 1)) == "It is 41 metres deep."
    with pytest.raises(AssertionError):
        support.quote("Its depth is 41 metres.", 1)


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


class CountingEmbedder(PlannedEmbedder):
    """Counts the texts that it reads."""

    num_read = 0

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        self.num_read += len(texts)
        return super().embed_queries(texts)


def test_many_sentences_that_share_no_word_have_the_embedder_read_few() -> None:
    embedder = CountingEmbedder(0.0)
    support = Support(SOURCES, embedder)
    first = support.quote("Zebras graze.", 1)
    # The sixteen texts by which the model is tried, the sentence, and the source's.
    read = embedder.num_read
    assert support.quote("Zebras graze.", 1, 7) == first
    assert embedder.num_read == read
    for number in range(300):
        support.quote(f"Zebras{number} graze.", 1)
    assert embedder.num_read <= read + 64
    assert text_of(support.quote("Zebras300 graze.", 1)) == LAKE


def test_a_model_is_tried_once() -> None:
    embedder = CountingEmbedder(0.0)
    for expected in (2 * len(_PAIRS["english"]), 0):
        before = embedder.num_read
        assert Support(SOURCES, embedder)._similarity is not None
        assert embedder.num_read - before == expected


def test_a_sentence_that_no_unit_is_near_to_quotes_the_passage() -> None:
    (_, lake), (_, contract), (_, vaccine), *_ = _PAIRS["english"]
    source = make_source(1, f"{lake} {contract}")
    assert text_of(Support([source], PlannedEmbedder(0.0)).quote(vaccine, 1)) == source.hit.passage.text
    source = make_source(1, f"{lake} Storks fly.")
    # Texts that it does not know are alike to it.
    assert text_of(Support([source], PlannedEmbedder(0.0)).quote("Zebras graze.", 1)) == "Storks fly."
