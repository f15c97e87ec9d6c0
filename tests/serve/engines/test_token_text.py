from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.serve.engines.token_text import StopFilter, TokenText


def decode_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def test_half_characters_wait_for_the_rest() -> None:
    text = TokenText(decode_bytes)
    assert [text.push(byte) for byte in "aé你".encode()] == ["a", "", "é", "", "", "你"]
    assert text.finish() == ""


def test_a_character_that_never_ends_comes_last() -> None:
    text = TokenText(decode_bytes)
    assert [text.push(byte) for byte in b"a\xc3"] == ["a", ""]
    assert text.finish() == "\ufffd"


@given(st.text(st.sampled_from("aé你\n 😀")))
def test_pieces_joined_are_the_text(expected: str) -> None:
    text = TokenText(decode_bytes)
    assert "".join([text.push(byte) for byte in expected.encode()]) + text.finish() == expected


@pytest.mark.parametrize(
    ("pieces", "stops", "passed", "stopped"),
    [
        (["One. Two"], [". "], "One", True),
        (["One", ".", " Two"], [". "], "One", True),
        (["One", ".", "Two"], [". "], "One.Two", False),
        (["One."], [". "], "One.", False),
        (["a", "b", "c"], ["bc", "ab"], "", True),
        (["abc"], ["", "x"], "abc", False),
    ],
)
def test_text_ends_before_the_first_stop_string(
    pieces: list[str], stops: list[str], passed: str, stopped: bool
) -> None:
    stop_filter = StopFilter(stops)
    assert "".join([stop_filter.push(piece) for piece in pieces]) + stop_filter.finish() == passed
    assert stop_filter.stopped is stopped


@given(
    st.text(st.sampled_from("ab")), st.lists(st.text(st.sampled_from("ab"), min_size=1, max_size=3), max_size=2)
)
def test_cuts_change_nothing(text: str, stops: list[str]) -> None:
    whole, bits = StopFilter(stops), StopFilter(stops)
    expected = whole.push(text) + whole.finish()
    found = "".join(map(bits.push, text)) + bits.finish()
    assert expected == text[: min((i for i in map(text.find, stops) if i >= 0), default=len(text))]
    # Letter by letter the stop string that ends first wins; the text before it is never longer than asked.
    assert expected.startswith(found[: len(expected)])
    assert all(stop not in found for stop in stops)
