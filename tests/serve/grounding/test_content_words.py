from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.serve.grounding.content_words import ContentWords, Weights, numbers_in


def test_english_words_are_stemmed_without_stop_words() -> None:
    words = ContentWords(["the lake is in the north and it is deep"])
    assert words.language == "english"
    assert words.of("When were the bridges opened?") == {"bridg", "open"}


def test_german_words_are_stemmed_without_stop_words() -> None:
    words = ContentWords(["Der See liegt im Norden und ist nicht sehr tief, aber die Brücke ist alt."])
    assert words.language == "german"
    assert words.of("Wann wurden die Brücken eröffnet?") == words.of("Brücke eröffnete")


def test_chinese_becomes_pairs_without_question_words() -> None:
    words = ContentWords(["这座石桥于一八七四年建成"])
    assert words.language == "cjk"
    assert words.of("石桥在什么时候建成？") == {"石桥", "时候", "候建", "建成"}
    assert words.of("GPU价格") == {"gpu", "价格"}


def test_numbers_are_one_word_however_they_are_grouped() -> None:
    words = ContentWords([])
    assert words.of("1,204 units at 3.5 % in 2019 of CD28 and 1,5") == {
        "1204", "unit", "3.5", "2019", "cd28", "1,5",
    }  # fmt: skip
    assert numbers_in(words.of("CD28 cost 1,204 in 2019")) == {"1204", "2019"}


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_texts_are_cut_as_others_are(text: str) -> None:
    words = ContentWords([])
    assert words.of(text) == words.of(f"{text} \u2014")


def test_weights_are_bm25_idf() -> None:
    weights = Weights([frozenset("ab"), frozenset("a"), frozenset("c")])
    assert weights.of("a") == pytest.approx(math.log(1 + 1.5 / 2.5))
    assert weights.of("b") == pytest.approx(math.log(1 + 2.5 / 1.5))
    assert weights.of("z") == pytest.approx(math.log(1 + 3.5 / 0.5))


def test_coverage_is_the_share_of_weight() -> None:
    weights = Weights([frozenset("ab"), frozenset("a"), frozenset("c")])
    a, b = weights.of("a"), weights.of("b")
    assert weights.coverage(frozenset("ab"), frozenset("bx")) == pytest.approx(b / (a + b))
    assert weights.coverage(frozenset(), frozenset("a")) == 0.0
