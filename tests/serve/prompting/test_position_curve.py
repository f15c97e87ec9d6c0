from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError
from ragkit.serve.prompting.order_choice import chosen_order
from ragkit.serve.prompting.position_curve import (
    PositionAccuracy,
    PositionCurve,
    choose_order,
    load_position_curve,
    save_position_curve,
    stored_curve,
)


def curve(accuracies: list[float], half_width: float = 0.02, **fields: Any) -> PositionCurve:
    points = tuple(
        PositionAccuracy(position=i, accuracy=a, low=max(0.0, a - half_width), high=min(1.0, a + half_width))
        for i, a in enumerate(accuracies, 1)
    )
    given: dict[str, Any] = {"model": "org/tiny", "num_questions": 500, "date": "2026-11-21"} | fields
    return PositionCurve(num_passages=len(points), positions=points, **given)


def test_a_curve_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "curves" / "tiny.json"
    given = curve([0.9, 0.5, 0.8], model="org/小 model")
    save_position_curve(given, path)
    assert load_position_curve(path) == given
    assert json.loads(path.read_text("utf-8"))["positions"][1] == {
        "position": 2,
        "accuracy": 0.5,
        "low": 0.48,
        "high": 0.52,
    }


def whole() -> dict[str, Any]:
    return curve([0.9, 0.5, 0.8]).model_dump(mode="json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"format: Input should be 1"),
        ({"format": None}, r"format: Input should be 1"),
        ({"model": ""}, r"model: String should have at least 1 character"),
        ({"num_passages": 4}, r"positions must run from 1 to num_passages = 4; they are \[1, 2, 3\]"),
        ({"num_passages": "3"}, r"num_passages: Input should be a valid integer"),
        ({"num_questions": 0}, r"num_questions: .*greater than or equal to 1"),
        ({"confidence": 1}, r"confidence: .*less than 1"),
        ({"date": "yesterday"}, r"date: Invalid isoformat string: 'yesterday'"),
        ({"positions": []}, r"positions must run from 1 to num_passages = 3; they are \[\]"),
        ({"extra": 1}, r"unknown field 'extra'; known here: confidence"),
        (
            {"positions": [{"position": 1, "accuracy": 0.5, "low": 0.6, "high": 0.7}]},
            r"positions.0: .*accuracy 0.5 is not within its interval 0.6 to 0.7",
        ),
        (
            {"positions": [{"position": 1, "accuracy": 1.5, "low": 0.6, "high": 0.7}]},
            r"positions.0.accuracy: .*less than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(whole() | change))
    with pytest.raises(ConfigError, match=rf"curve.json is no position curve of format 1: .*{message}"):
        load_position_curve(path)


def test_positions_ascend(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(whole() | {"positions": whole()["positions"][::-1]}))
    with pytest.raises(ConfigError, match=r"positions must ascend, each once; they are \[3, 2, 1\]"):
        load_position_curve(path)


def test_files_that_are_no_json_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    with pytest.raises(ConfigError, match="No such file"):
        stored_curve(str(path))
    with pytest.raises(ConfigError, match="No such file"):
        load_position_curve(path)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ConfigError, match="cannot read the position curve|is no position curve"):
        load_position_curve(path)
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="is no position curve of format 1"):
        stored_curve(str(path))
    with pytest.raises(ConfigError):
        stored_curve("nul\0byte")
    with pytest.raises(ConfigError):
        stored_curve(str(tmp_path))


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    save_position_curve(curve([0.9, 0.5, 0.8]), path)
    assert stored_curve(str(path)).num_passages == 3
    save_position_curve(curve([0.9, 0.5, 0.8, 0.7]), path)
    assert stored_curve(str(path)).num_passages == 4


@pytest.mark.parametrize(
    ("accuracies", "order"),
    [
        # Lost in the middle: the last is nearly as good as the first.
        ([0.9, 0.5, 0.5, 0.5, 0.88], "ends"),
        # Read best at the end.
        ([0.5, 0.5, 0.6, 0.7, 0.9], "reverse"),
        ([0.9, 0.8, 0.7, 0.6, 0.5], "rank"),
        ([0.7, 0.7, 0.7, 0.7, 0.7], "rank"),
    ],
)
def test_the_best_ranks_stand_where_the_model_reads_best(accuracies: list[float], order: str) -> None:
    assert choose_order(curve(accuracies), 5)[0] == order


def test_the_rule_in_numbers() -> None:
    # Two sources: ends is rank; reverse swaps them. Weights 2/3 and 1/3: (2/3 - 1/3) * (0.8 - 0.5) = 0.1.
    order, why = choose_order(curve([0.5, 0.8]), 2)
    assert order == "reverse"
    # The shares change by 1/3 each: the root of 2 * (0.02 / 3)^2 is 0.0094.
    assert "expects 0.100 more accuracy than in rank order (intervals: 0.009)" in why
    assert choose_order(curve([0.5, 0.8], 0.21), 2)[0] == "reverse"
    # 0.3 * sqrt(2) / 3 is 0.141, more than the gain.
    assert choose_order(curve([0.5, 0.8], 0.3), 2)[0] == "rank"


def test_positions_between_measured_ones_are_on_the_line() -> None:
    points = tuple(
        PositionAccuracy(position=p, accuracy=a, low=a, high=a) for p, a in ((1, 0.9), (10, 0.1), (20, 0.88))
    )
    measured = PositionCurve(model="tiny", num_passages=20, num_questions=9, date="2026-01-31", positions=points)
    assert choose_order(measured, 50)[0] == "ends"
    assert {choose_order(measured, k)[0] for k in (0, 1)} == {"rank"}


def test_auto_asks_the_curve_of_the_served_model_alone(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    save_position_curve(curve([0.5, 0.6, 0.9], model="org/Tiny"), path)
    auto = GenerationConfig(position_curve=str(path))
    assert chosen_order(auto, "tiny", 3)[0] == "reverse"
    assert chosen_order(auto, "big", 3) == (
        "rank",
        "the stored position curve is of org/Tiny, and the engine is big",
    )
    assert chosen_order(GenerationConfig(), "tiny", 3) == ("rank", "no position curve is stored")
    assert chosen_order(GenerationConfig(order="ends", position_curve="missing"), "tiny", 3)[0] == "ends"
