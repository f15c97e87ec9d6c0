from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


CASES = {
    "two sentences": ("One fell. Two rose!", ["One fell.", "Two rose!"]),
    "decimals and versions": ("It is 3.5 m. Use v1.2.3 now.", ["It is 3.5 m.", "Use v1.2.3 now."]),
    "titles": ("Dr. Smith met Prof. Lee. They spoke.", ["Dr. Smith met Prof. Lee.", "They spoke."]),
    "initials": ("J. R. Tolkien wrote it. He was 60.", ["J. R. Tolkien wrote it.", "He was 60."]),
    "country": (
        "The U.S. Army left the U.S. The war ended.",
        ["The U.S. Army left the U.S.", "The war ended."],
    ),
    "vitamin": ("It holds vitamin C. The rest is water.", ["It holds vitamin C.", "The rest is water."]),
    "lower case follows": ("Yahoo! is old, e.g. older than you.", ["Yahoo! is old, e.g. older than you."]),
    "quotes": ('"Go!" She went. (He stayed.) End', ['"Go!"', "She went.", "(He stayed.)", "End"]),
    "question": ("Why? Because…  Nothing.", ["Why?", "Because…", "Nothing."]),
    "year": ("It ended in 1998. Sales grew.", ["It ended in 1998.", "Sales grew."]),
    "marks": (
        "Paris is big. [1] It is old.[2][3] Yes [1, 2]. No.",
        ["Paris is big. [1]", "It is old.[2][3]", "Yes [1, 2].", "No."],
    ),
    "footnote": (
        "It rose.2 Then it fell.13\nSee No.5 There.",
        ["It rose.2", "Then it fell.13", "See No.5 There."],
    ),
    "rows with units": (
        "Table 3. Peak flow of the January flood\nby station\nRain over the catchment 1,012 mm 1,137 mm\n"
        "Upper Lenn 640 t 12 km²\nUptime, all stations 97.9 % 98.6 %",
        [
            "Table 3. Peak flow of the January flood\nby station",
            "Rain over the catchment 1,012 mm 1,137 mm",
            "Upper Lenn 640 t 12 km²",
            "Uptime, all stations 97.9 % 98.6 %",
        ],
    ),
    "row below a caption": (
        "Sediment carried past each station in 2025, in tonnes\nUpper Lenn 640 t\nAshlock 17 t",
        ["Sediment carried past each station in 2025, in tonnes", "Upper Lenn 640 t", "Ashlock 17 t"],
    ),
    "table label": (
        "As Table 3. shows.\n\nAs in Table 3. The end.",
        ["As Table 3. shows.", "As in Table 3.", "The end."],
    ),
    "german date": (
        "Am 3. März 2020 kam z. B. Dr. Ott. Er blieb.",
        ["Am 3. März 2020 kam z. B. Dr. Ott.", "Er blieb."],
    ),
    "german century": (
        "Im 19. Jahrhundert war es so. Dann nicht.",
        ["Im 19. Jahrhundert war es so.", "Dann nicht."],
    ),
    "chinese": ("北京是首都。它很大！真的吗？是", ["北京是首都。", "它很大！", "真的吗？", "是"]),
    "japanese": ("「行こう。」彼は言った。終わり", ["「行こう。」", "彼は言った。", "終わり"]),
    "list": (
        "Needs:\n- salt\n- water\n1. Mix\n2. Wait",
        ["Needs:", "- salt", "- water", "1. Mix", "2. Wait"],
    ),
    "table": (
        "Revenue 2019 2020\nSales 1,204 1,310\nCosts (804) 910\nNet $ 400 $ 400",
        ["Revenue 2019 2020", "Sales 1,204 1,310", "Costs (804) 910", "Net $ 400 $ 400"],
    ),
    "table with units": (
        "Overall height with all-wheel drive in inches 56.9/57.1 56.9\n"
        "Head room without moonroof 38.3/38.0 (37.5)",
        [
            "Overall height with all-wheel drive in inches 56.9/57.1 56.9",
            "Head room without moonroof 38.3/38.0 (37.5)",
        ],
    ),
    "contents": (
        "1 About the machine and its parts........... 1\n2 Care............ 6",
        ["1 About the machine and its parts........... 1", "2 Care............ 6"],
    ),
    "pipe table": ("| a | b |\n| 1 | 2 |", ["| a | b |", "| 1 | 2 |"]),
    "wrapped prose": (
        "The valve was opened by the crew of the\nNorth Station shortly after the alarm had gone\noff. It held.",
        [
            "The valve was opened by the crew of the\nNorth Station shortly after the alarm had gone\noff.",
            "It held.",
        ],
    ),
    "heading": ("Annual report\nThe year was good.", ["Annual report", "The year was good."]),
    "blank line": ("no stop here\n\nnext part", ["no stop here", "next part"]),
    "windows line ends": (
        "no stop here\r\nnext part goes on\r\n\r\nOther",
        ["no stop here\r\nnext part goes on", "Other"],
    ),
    "empty": (" \n\t ", []),
    "no space": ("See www.a.com/x.html?y=1.", ["See www.a.com/x.html?y=1."]),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_cases(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(st.sampled_from("aB1 .!?\n\r\t\f。「」[]()|-•,\"'\u2028\x1c語")) | st.text())
def test_spans_cover_all_that_is_not_white_space(text: str) -> None:
    covered = set()
    last = 0
    for start, end in sentence_spans(text):
        assert last <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        covered.update(range(start, end))
        last = end
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


@pytest.mark.parametrize("unit", ["a b. ", ". ", "[1] ", "((", "1 ", " \t", "x. [1][2]"])
def test_time_grows_with_length_only(unit: str) -> None:
    sentence_spans(unit * 1000)
    begin = time.process_time()
    sentence_spans(unit * (400_000 // len(unit)))
    assert time.process_time() - begin < 3.0
