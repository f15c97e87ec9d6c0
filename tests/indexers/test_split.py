"""Splitting: spans worked out by hand, and properties over generated texts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ragkit.indexers.split import WordTokenizer, split_text


def spans_of(text: str, max_tokens: int, overlap: int) -> list[tuple[int, int]]:
    return split_text(text, WordTokenizer().token_spans([text])[0], max_tokens, overlap)


def pieces(text: str, max_tokens: int, overlap: int = 0) -> list[str]:
    return [text[start:end] for start, end in spans_of(text, max_tokens, overlap)]


def test_sentences_are_packed_up_to_the_limit():
    # Each sentence has 4 tokens (3 words and a stop); 10 tokens less 2 for the edges hold two of them.
    text = "One two three. Four five six. Seven eight nine."
    assert pieces(text, 10) == ["One two three. Four five six.", "Seven eight nine."]


def test_overlap_repeats_whole_sentences():
    text = "One two three. Four five six. Seven eight nine."
    assert pieces(text, 10, overlap=4) == [
        "One two three. Four five six.",
        "Four five six. Seven eight nine.",
    ]


def test_overlap_never_keeps_the_next_sentence_out():
    # The third sentence fills the limit alone, so nothing of the second can be repeated before it.
    text = "One two. Four five. Seven eight nine a b c d."
    assert pieces(text, 10, overlap=4) == ["One two. Four five.", "Seven eight nine a b c d."]


def test_a_long_sentence_is_cut_between_tokens():
    text = "a b c d e f g h i j"
    assert pieces(text, 6) == ["a b c d", "e f g h", "i j"]


def test_empty_and_blank_texts_have_no_passages():
    assert spans_of("", 10, 2) == []
    assert spans_of("  \n ", 10, 2) == []


@given(
    st.text(alphabet="ab .!?\n中。,", max_size=200),
    st.integers(1, 30),
    st.integers(0, 40),
)
def test_every_token_is_in_a_passage_and_none_is_too_long(text: str, max_tokens: int, overlap: int):
    tokens = WordTokenizer().token_spans([text])[0]
    spans = split_text(text, tokens, max_tokens, overlap)
    covered = np.zeros(len(text), bool)
    previous_start = previous_end = -1
    for start, end in spans:
        inside = ((tokens[:, 0] >= start) & (tokens[:, 0] < end)).sum()
        assert 1 <= inside <= max_tokens
        assert start > previous_start
        assert end > previous_end
        previous_start, previous_end = start, end
        covered[start:end] = True
    assert all(covered[start:end].all() for start, end in tokens)
