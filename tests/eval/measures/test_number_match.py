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
        ("Net cash used in investing activities (862) (880) 12", [-862.0, -880.0, 12.0]),
        ("Change of all sales from last year (4.2%) 3.1%", [-4.2, 3.1]),
        ("€1.5k, US$3M, 7 mn, 2 tn", [1.5e3, 3e6, 7e6, 2e12]),
        ("3M's 10-K for Q2 of FY2022, a 5-year plan", []),
        ("version 1.2.3, 1,5 and 1,2345", []),
        (".5 of it.", [0.5]),
        ("500m deep, 5,000km, 1.5x and 0.66x, 16GB, 3.5mm", [500.0, 5000.0, 1.5, 0.66, 16.0, 3.5]),
        ("500m² and 20°C", [500.0, 20.0]),
        ("1.2B dollars, 3M dollars, 1.2B and 1,200K", [1.2e9, 3e6, 1.2e9, 1.2e6]),
        ("No.5, Fig.12 and Rs.500", [5.0, 12.0, 500.0]),
        ("1 000 000 and 12\u202f345.5 and 1\u00a0234 and 2\u2009500", [1e6, 12345.5, 1234.0, 2500.0]),
        ("100 000 of 84 132, in 2018 500", [100000.0, 84.0, 132.0, 2018.0, 500.0]),
        ("1980s, 30s, 21st, 5G, 4K, 10k, Q2, FY2020, 10-K, 3M", []),
        ("five", []),
    ],
)
def test_numbers_are_read(text, values):
    assert [number.value for number in read_numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(16.5%)", -16.5),
        ("(16.5)%", -16.5),
        ("The margin was (16.5)% in the third quarter.", -16.5),
        ("Sales rose (16.5%) in the third quarter.", 16.5),
        ("Margin (16.5%)", 16.5),
        ("(231)", -231.0),
        ("Net loss (231)", -231.0),
        ("The stores that were opened then (47) are in Ohio.", 47.0),
        ("The company made a net loss of ($231) in that year.", -231.0),
        ("The company made a net loss of $(231) in that year.", -231.0),
        ("Net cash used in all investing activities (862)", -862.0),
        ("They had to close all of the stores (47).", 47.0),
        ("Founded (1901)", 1901.0),
        ("The founding of the house (1901) was late.", 1901.0),
    ],
)
def test_parentheses_are_negative_in_accounts_and_asides_in_sentences(text, value):
    assert [number.value for number in read_numbers(text)] == [value]


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
        ("It opened in 1999.", "2,000", 1.0),
        # Only a gold number that is a year is met exactly.
        ("1600", "1,590 tons", 1.0),
        ("1590", "1600 tons", 1.0),
        ("They employ 1850 people.", "1,800", 1.0),
        ("In 2020 there were 1,850 of them.", "1,800", 1.0),
        ("2017", "2018 fiscal year", 0.0),
        ("2017", "in 2018", 0.0),
        ("2000", "2,101 stores", 1.0),
        ("2000", "2,110 stores", 0.0),
        # Units are attached, or not.
        ("500m deep", "500 m", 1.0),
        ("5,000km", "5,000 km", 1.0),
        ("It was 1.5x.", "1.5", 1.0),
        ("1.2B dollars", "$1.2 billion", 1.0),
        ("1.2B", "$1.2 billion", 1.0),
        ("0.67", "0.66x", 1.0),
        ("0.70", "0.66x", 0.0),
        ("It is No.5.", "5", 1.0),
        ("1 000 000", "1 million", 1.0),
        ("Sales rose (16.5%) over the last year.", "16.5%", 1.0),
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
