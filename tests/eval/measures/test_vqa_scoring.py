from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.eval.measures.vqa_scoring import is_correct, is_number, is_within_5_percent, normalize_answer
from tests.deviations import Deviations

VISRAG = json.loads((Path(__file__).parents[2] / "golden" / "visrag_gen" / "answer_scoring.json").read_text())


@pytest.mark.parametrize(("text", "expected"), VISRAG["preprocess_text"])
def test_golden_visrag_normalisation(text: str, expected: str, deviations: Deviations) -> None:
    deviations.assert_equal("visrag answers: normalised", normalize_answer(text), expected)


@pytest.mark.parametrize(("predicted", "gold", "expected"), VISRAG["within_5_percent"])
def test_golden_visrag_five_percent(predicted: str, gold: str, expected: bool, deviations: Deviations) -> None:
    deviations.assert_equal(
        "visrag answers: 5 % test", is_within_5_percent(float(predicted), float(gold)), expected
    )


@pytest.mark.parametrize(("text", "expected"), VISRAG["numeric"])
def test_golden_visrag_numbers(text: str, expected: bool, deviations: Deviations) -> None:
    deviations.assert_equal("visrag answers: numeric test", is_number(text), expected)


def test_a_gold_value_of_zero_must_be_met() -> None:
    assert is_within_5_percent(0.0, 0.0)
    assert not is_within_5_percent(0.001, 0.0)
    assert not is_within_5_percent(5.0, float("inf"))
    assert not is_within_5_percent(float("nan"), 1.0)


@pytest.mark.parametrize(
    ("predicted", "golds", "rule", "expected"),
    [
        ("The Louvre.", ["louvre"], "exact", True),
        ("42 %", ["42"], "exact", True),
        ("41", ["42"], "exact", False),
        ("41", ["42"], "number", True),
        ("forty", ["40"], "number", False),
        ("0", ["0"], "number", True),
        ("0.01", ["0"], "number", False),
        ("nan", ["nan"], "number", True),
        ("b", ["pear", "B"], "exact", True),
        ("B. the second", ["b"], "letter", True),
        ("", [""], "letter", False),
        (" ", ["the"], "exact", False),
        ("the", ["The"], "exact", True),
        ("(B)", ["B"], "letter", False),
        ("C", ["B"], "letter", False),
    ],
)
def test_rules_of_the_sets(predicted: str, golds: list[str], rule: str, expected: bool) -> None:
    assert is_correct(predicted, golds, rule) is expected  # type: ignore[arg-type]
