from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.serve.grounding.marks import MarkFilter, defuse_marks, marks_in, without_marks


def filtered(pieces: list[str], num_sources: int = 3) -> tuple[str, tuple[int, ...]]:
    marks = MarkFilter(num_sources)
    out = [marks.push(piece) for piece in pieces]
    return "".join([*out, marks.finish()]), marks.unknown


@pytest.mark.parametrize(
    ("text", "expected", "unknown"),
    [
        ("It fell [1].", "It fell [1].", ()),
        ("It fell [1, 2].", "It fell [1][2].", ()),
        ("It fell [1][2].", "It fell [1][2].", ()),
        ("It fell [1-3].", "It fell [1][2][3].", ()),
        ("It fell [3–2].", "It fell [2][3].", ()),
        ("It fell【2】.", "It fell[2].", ()),
        ("It fell [Source 2].", "It fell [2].", ()),
        ("It fell [9].", "It fell.", (9,)),
        ("It fell [9] and [0] rose.", "It fell and rose.", (9, 0)),
        ("It fell [2-5].", "It fell [2][3].", (4, 5)),
        ("It fell [9] [8].", "It fell.", (9, 8)),
        ("In [1998] it fell [a] [1", "In [1998] it fell [a] [1", ()),
        ("  \n It fell [1]. \n", "It fell [1].", ()),
        ("See [the link](x) [] [[1]]", "See [the link](x) [] [[1]]", ()),
        ("It fell [[9]9].", "It fell […9].", (9,)),
        ("It fell [1[9] 2].", "It fell [1… 2].", (9,)),
        ("It fell 【 [8][9]7】.", "It fell 【…7】.", (8, 9)),
        ("It fell [source [9] 1].", "It fell [source… 1].", (9,)),
        ("", "", ()),
        ("It fell【1†source】, [Source: 2], [doc 3] and [#1].", "It fell[1], [2], [3] and [1].", ()),
        ("It fell [1 and 2], [Source 1, Source 3] and［2］.", "It fell [1][2], [1][3] and[2].", ()),
        ("In [0, 1] it rose by [10-20] [5; 7].", "In [0, 1] it rose by [10-20].", (5, 7)),
        ("It fell [1, 7].", "It fell [1].", (7,)),
        ("Use `a[0]` and ``b[2]`` [1].", "Use `a[0]` and ``b[2]`` [1].", ()),
        (
            "Use:\n```python\nx = a[0] + b[1][7]\n```\n[1] [7]",
            "Use:\n```python\nx = a[0] + b[1][7]\n```\n[1]",
            (7,),
        ),
        (
            "A ` alone [9] is none, nor ``quotes'' [9].\nSo `it [9] is\nnot`.",
            "A ` alone is none, nor ``quotes''.\nSo `it is\nnot`.",
            (9,),
        ),
        ("```python x = 1 [9]", "```python x = 1", (9,)),
    ],
)
def test_marks_are_written_plainly_and_unknown_ones_go(text: str, expected: str, unknown: tuple[int, ...]) -> None:
    assert filtered([text]) == (expected, unknown)


@given(st.text(st.sampled_from("[]12390 ,-–a.\nsource【】`")), st.lists(st.integers(0, 40)))
def test_the_cuts_of_a_stream_change_nothing(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert filtered(pieces) == filtered([text])


@given(
    st.lists(st.sampled_from(["`", "``", "```", "\n", "```\n", "x", " ", "[9]", "[1]", "[", "9]"])),
    st.integers(1, 9),
)
def test_the_cuts_of_a_stream_with_code_change_nothing(parts: list[str], size: int) -> None:
    text = "".join(parts)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert filtered(pieces) == filtered([text])


@given(st.text(st.sampled_from("[]12390 ,-a.")))
def test_what_remains_names_known_sources_only(text: str) -> None:
    assert set(marks_in(filtered([text])[0])) <= {1, 2, 3}


@given(st.lists(st.sampled_from(["[", "[9]", "9]", "[1", "]", " ", "[1]"])).map("".join), st.integers(1, 4))
def test_what_goes_leaves_no_mark_behind(text: str, size: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert set(marks_in(filtered(pieces)[0])) <= {1, 2, 3}
    assert filtered(pieces) == filtered([text])


def test_white_space_without_end_takes_no_more_time_than_text() -> None:
    def seconds(piece: str) -> float:
        marks = MarkFilter(1)
        started = time.perf_counter()
        passed = [marks.push(piece) for _ in range(20_000)]
        ended = marks.push("end [1]")
        took = time.perf_counter() - started
        assert len("".join([*passed, ended])) == len(piece) * 20_000 * (not piece.isspace()) + len("end [1]")
        return took

    # Looked through again with every piece it takes a thousand times as long.
    assert seconds(" " * 100) < 5 * seconds("x" * 100)


def test_only_an_unfinished_bracket_is_held_back() -> None:
    marks = MarkFilter(1)
    assert [marks.push(piece) for piece in ("It fell", " [", "1", "]", " and", " rose [a")] == [
        "It fell",
        "",
        "",
        " [1]",
        " and",
        " rose [a",
    ]


def test_a_number_of_a_source_becomes_no_mark() -> None:
    assert defuse_marks("as shown [3] and [4, 5] in [1998]【6】") == "as shown (3) and (4, 5) in [1998](6)"


def test_marks_are_listed_once_and_taken_out() -> None:
    assert marks_in("One [2][1]. Two [2].") == [2, 1]
    assert without_marks("One [2][1]. Two [2].") == "One. Two."
