from __future__ import annotations

from ragkit.serve.grounding.units import units_of
from tests.serve.house import LAKE, make_source


def test_sentences_are_units_with_their_places() -> None:
    units = units_of(make_source(1, LAKE))
    assert [unit.text for unit in units] == [
        "Lake Ohm lies in the north.",
        "It is 41 metres deep.",
        "Pike and perch live in it.",
    ]
    assert all(LAKE[unit.start : unit.end] == unit.text and unit.heads == () for unit in units)


def test_a_row_carries_the_first_line_of_its_table() -> None:
    units = units_of(make_source(1, "Catch by year. It is in tonnes.\nSpecies 2019 2020\nPike 12 14\nPerch 30 28"))
    assert [unit.full_text for unit in units[2:]] == [
        "Species 2019 2020",
        "Species 2019 2020 | Pike 12 14",
        "Species 2019 2020 | Perch 30 28",
    ]


def test_an_item_carries_the_sentence_with_the_colon() -> None:
    units = units_of(make_source(1, "Bring to the boat:\n- rope\n- a lamp"))
    assert [unit.full_text for unit in units][1:] == [
        "Bring to the boat: | - rope",
        "Bring to the boat: | - a lamp",
    ]


def test_an_answer_carries_its_question() -> None:
    units = units_of(make_source(1, "How do I reset it?\nHold the button for five seconds."))
    assert units[1].full_text == "How do I reset it? | Hold the button for five seconds."


def test_a_named_value_needs_no_header() -> None:
    units = units_of(make_source(1, "Invoice\nTotal due: 1,250 EUR"))
    assert units[1].full_text == "Total due: 1,250 EUR"


def test_the_lines_of_a_unit_stand_in_its_source() -> None:
    text = "Bring to the boat\nor the jetty:\n- rope\n- a lamp"
    unit = units_of(make_source(1, text))[2]
    assert unit.lines == ["Bring to the boat or the jetty:", "- a lamp"]
    assert [text[start:end] for start, end in unit.heads] == ["Bring to the boat\nor the jetty:"]


def test_the_number_of_a_page_heads_nothing() -> None:
    units = units_of(make_source(1, "73\nUSB connections 37\nports 31"))
    assert [unit.full_text for unit in units] == ["73", "USB connections 37 ports 31"]
