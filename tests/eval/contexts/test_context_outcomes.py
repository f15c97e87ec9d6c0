"""Cells of a context sweep: shares, means, intervals and comparisons, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ragkit.eval.contexts.context_outcomes import (
    Outcome,
    SamePrompts,
    common_questions,
    compare_orders,
    same_prompts,
    score_answer,
    summarise,
)
from ragkit.eval.contexts.context_probe import Cell
from ragkit.eval.measures.significance import Interval, wilson_interval
from ragkit.eval.sets.context_sets import ContextQuestion

RANK, ENDS, LONG = Cell("set", 2, "rank"), Cell("set", 2, "ends"), Cell("set", 9, "rank")
RIGHT, WRONG = Outcome(correct=1.0, f1=0.5, num_tokens=100), Outcome(num_tokens=50)
SKIPPED = Outcome(skipped="longer than the context")


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    [
        # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964
        (8, 10, 0.490162, 0.943318),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (50, 100, 0.403832, 0.596168),
    ],
)
def test_wilsons_interval(right: int, number: int, low: float, high: float):
    found = wilson_interval(right, number)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-6), pytest.approx(high, abs=2e-6))


def test_an_answer_is_scored_against_right_and_wrong_answers():
    question = ContextQuestion("q", "?", ("Ada Ohm",), (), wrong_answers=("Bo Volt",))
    found = score_answer(question, "It was Ada Ohm.", 120, "abc", (3,))
    # Words of the answer: it was ada ohm; of the gold answer: ada ohm; F1 = 2·2/(4 + 2).
    assert (found.correct, found.f1, found.misled) == (1.0, pytest.approx(2 / 3), 0.0)
    assert score_answer(question, "Bo Volt!", 1, "", ()).misled == 1.0
    assert score_answer(ContextQuestion("q", "?", ("x",), ()), "y", 1, "", ()).misled is None


def test_rows_are_read_back_as_they_were():
    asked = Outcome(correct=1.0, f1=0.25, misled=0.0, answer="é", num_tokens=7, prompt="ab", gold_at=(1, 4))
    assert Outcome.from_row(json.loads(json.dumps(asked.to_row()))) == asked
    assert SKIPPED.to_row() == {"skipped": "longer than the context"}
    assert Outcome.from_row(SKIPPED.to_row()) == SKIPPED


def test_means_are_over_the_questions_that_were_asked():
    outcomes = {"a": RIGHT, "b": WRONG, "c": SKIPPED, "d": RIGHT}
    found = summarise(RANK, outcomes, frozenset({"a", "b"}), seed=0)
    assert (found.num_asked, found.skipped) == (3, {"longer than the context": 1})
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.accuracy_interval == wilson_interval(2, 3)
    assert found.f1 == pytest.approx(1 / 3)
    assert found.common_accuracy == 0.5
    assert found.mean_tokens == pytest.approx(250 / 3)
    assert found.misled is None


def test_a_cell_in_which_no_question_was_asked_has_no_figures():
    found = summarise(RANK, {"a": SKIPPED, "b": SKIPPED}, frozenset(), seed=0)
    assert (found.num_asked, found.accuracy, found.accuracy_interval, found.f1) == (0, None, None, None)


def test_common_questions_are_those_of_all_cells_that_have_any():
    outcomes = {
        RANK: {"a": RIGHT, "b": RIGHT, "c": RIGHT},
        ENDS: {"a": RIGHT, "b": SKIPPED, "c": WRONG},
        LONG: {"a": SKIPPED, "b": SKIPPED, "c": SKIPPED},
    }
    assert common_questions(outcomes) == {"a", "c"}
    assert common_questions({LONG: outcomes[LONG]}) == frozenset()


def test_orders_are_compared_over_the_questions_they_share():
    ids = "abcdefg"
    outcomes = {
        RANK: dict.fromkeys(ids, WRONG) | {"g": SKIPPED},
        ENDS: dict.fromkeys(ids, RIGHT) | {"a": WRONG},
        LONG: dict.fromkeys(ids, RIGHT),
        Cell("set", 2, position=1): dict.fromkeys(ids, RIGHT),
    }
    (found,) = compare_orders(outcomes, seed=0)
    assert (found.a, found.b, found.k, found.num_questions) == ("rank", "ends", 2, 6)
    # Five of six differ, all one way: 2 of the 2^5 ways to set the signs are as far from 0.
    assert found.difference == pytest.approx(5 / 6)
    assert found.p == pytest.approx(2 / 32)
    assert found.holm_p == found.p
    assert found.interval.low < 5 / 6 <= found.interval.high


def test_orders_that_make_the_same_prompts_are_left_out_of_tests_and_correction():
    def prompted(outcome: Outcome, kind: str) -> dict[str, Outcome]:
        return {id_: replace(outcome, prompt=f"{kind} {id_}") for id_ in "abcdef"}

    reverse, one, other = Cell("set", 2, "reverse"), Cell("set", 1, "rank"), Cell("set", 1, "ends")
    outcomes = {
        RANK: prompted(WRONG, "first"),
        ENDS: prompted(RIGHT, "second"),
        reverse: prompted(WRONG, "first"),
        # As at a temperature: the digests of one prompt are several.
        one: prompted(RIGHT, "third"),
        other: prompted(WRONG, "fourth"),
    }
    found = compare_orders(outcomes, seed=0)
    assert [(pair.k, pair.a, pair.b) for pair in found] == [(2, "rank", "ends"), (2, "ends", "reverse")]
    # Two tests count, not four.
    assert [pair.holm_p for pair in found] == pytest.approx([2 / 32, 2 / 32])
    assert same_prompts(outcomes) == [
        SamePrompts("set", 2, "rank", "reverse"),
        SamePrompts("set", 1, "rank", "ends"),
    ]
    # One question with another prompt is enough to be compared.
    outcomes[reverse] |= {"f": replace(WRONG, prompt="another")}
    assert len(compare_orders(outcomes, seed=0)) == 3


def test_p_values_are_corrected_for_all_pairs_of_the_sweep():
    ids = "abcdef"
    outcomes = {
        RANK: dict.fromkeys(ids, WRONG),
        ENDS: dict.fromkeys(ids, RIGHT),
        Cell("set", 2, "reverse"): dict.fromkeys(ids, WRONG),
    }
    found = {(one.a, one.b): one for one in compare_orders(outcomes, seed=0)}
    assert [one.p for one in found.values()] == pytest.approx([1 / 32, 1.0, 1 / 32])
    assert [one.holm_p for one in found.values()] == pytest.approx([3 / 32, 1.0, 3 / 32])
    assert found["rank", "reverse"].interval == Interval(0.0, 0.0)
