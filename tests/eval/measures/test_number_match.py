"""Numbers in texts, and which of them count as the same."""

from __future__ import annotations

import pytest

from ragkit.eval.measures.number_match import gold_number, number_match, read_numbers


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("$1.2 billion", [1.2e9]),
        ("12,345", [12345.0]),
        ("(3.4)", [-3.4]),
        ("$(231) and ($3.5 million)", [-231.0, -3.5e6]),
        ("-14.76% or −2", [-14.76, -2.0]),
        ("10-12", [10.0, 12.0]),
        ("12 % , (3.4)%", [12.0, -3.4]),
        ("a rise (3.4% more)", [3.4]),
        ("€1.5k, US$3M, 7 mn, 2 tn", [1.5e3, 3e6, 7e6, 2e12]),
        ("3M's 10-K for Q2 of FY2022, a 5-year plan", []),
        ("version 1.2.3, 1,5 and 1,2345", []),
        (".5 of it.", [0.5]),
        ("five", []),
    ],
)
def test_numbers_are_read(text, values):
    assert [number.value for number in read_numbers(text)] == pytest.approx(values)


def test_per_cent_years_and_scales_are_told():
    found = read_numbers("12 per cent in 2022, 2,022 cars, $2022, 2022 million")
    assert [(n.is_percent, n.is_year, n.is_scaled) for n in found] == [
        (True, False, False),
        (False, True, False),
        (False, False, False),
        (False, False, False),
        (False, False, True),
    ]


@pytest.mark.parametrize(
    ("gold", "counts"),
    [
        ("47 new stores", True),
        ("~42%", True),
        ("May 18, 2018", False),
        ("the company will make a gain of 20 billion", False),
        ("10-K of 5", False),
        ("red", False),
    ],
)
def test_which_gold_answers_are_a_number(gold, counts):
    assert (gold_number(gold) is not None) is counts


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("105", "100", 1.0),
        ("105.1", "100", 0.0),
        ("95", "100", 1.0),
        ("-100", "100", 0.0),
        ("0.01", "0", 0.0),
        ("In 2020 revenue was $1,230 million.", "$1.2 billion", 1.0),
        ("$1.2 million", "$1.2 billion", 0.0),
        # Only the first number of an answer counts.
        ("80, 90 or 100", "100", 0.0),
        # A year is not 5 % off, and never another number.
        ("1903", "1901", 0.0),
        ("It was in 1901.", "1901", 1.0),
        # Where there is nothing else, what looks like a year may be the number.
        ("2000 m", "2,000", 1.0),
        ("It opened in 1999.", "2,000", 0.0),
        ("2,000", "2000", 1.0),
        # A percentage is met by the first percentage, not by the sum before it.
        ("Sales of $5 bn grew by 3.4 %", "3.4%", 1.0),
        ("0.165", "16.5%", 1.0),
        ("16.5", "16.5%", 1.0),
        ("16.5%", "0.165", 1.0),
        ("no number", "100", 0.0),
    ],
)
def test_match_within_five_per_cent(answer, gold, score):
    assert number_match(answer, [gold]) == score


def test_any_gold_number_may_be_met_and_without_one_there_is_nothing_to_meet():
    assert number_match("12", ["a dozen", "12"]) == 1.0
    assert number_match("12", ["a dozen"]) is None


def test_the_question_may_name_the_scale():
    question = "What was the capital expenditure (in USD millions)?"
    assert number_match("$1,577 million", ["$1577.00"], question) == 1.0
    assert number_match("$1.577 billion", ["$1577.00"], question) == 1.0
    assert number_match("$1,577 million", ["$1577.00"], "What was it in 2018?") == 0.0
    assert number_match("1577", ["1.577 billion"], question) == 1.0
