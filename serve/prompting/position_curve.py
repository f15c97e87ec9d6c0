"""How well a model uses a passage by where it stands in the prompt: a file of it, and the order it speaks for.

"Lost in the Middle", Liu et al., TACL 2024 (arXiv 2307.03172): the gold passage stands at one of k positions
between others that do not hold the answer, and the share of right answers is measured for each position.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ragkit.errors import ConfigError
from ragkit.field_problems import explain
from ragkit.files import atomic_write
from ragkit.serve.prompting.reorder import Order, Permutation, ends_positions, rank_positions, reverse_positions

FORMAT: Literal[1] = 1

_Share = Field(ge=0, le=1, allow_inf_nan=False)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PositionAccuracy(_Part):
    """Share of right answers with the gold passage at `position` (from 1), and its confidence interval."""

    position: int = Field(ge=1)
    accuracy: float = _Share
    low: float = _Share
    high: float = _Share

    @model_validator(mode="after")
    def _in_interval(self) -> PositionAccuracy:
        if not self.low <= self.accuracy <= self.high:
            raise ValueError(f"accuracy {self.accuracy} is not within its interval {self.low} to {self.high}")
        return self


class PositionCurve(_Part):
    """What was measured of one model.

    format: of this file. model: as the server of the model calls it. num_passages: in each prompt.
    num_questions: asked at each position. confidence: of the intervals. date: ISO, of the measurement.
    positions: ascending; the first and the last passage's must be among them, others may be missing.
    """

    format: Literal[1] = FORMAT
    model: str = Field(min_length=1)
    num_passages: int = Field(ge=2)
    num_questions: int = Field(ge=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    date: str
    positions: tuple[PositionAccuracy, ...] = Field(strict=False)

    @field_validator("date")
    @classmethod
    def _iso(cls, value: str) -> str:
        return date.fromisoformat(value).isoformat()

    @field_validator("positions")
    @classmethod
    def _ascending(cls, value: tuple[PositionAccuracy, ...]) -> tuple[PositionAccuracy, ...]:
        places = [point.position for point in value]
        if places != sorted(set(places)):
            raise ValueError(f"positions must ascend, each once; they are {places}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> PositionCurve:
        places = [point.position for point in self.positions]
        if not places or (places[0], places[-1]) != (1, self.num_passages):
            raise ValueError(f"positions must run from 1 to num_passages = {self.num_passages}; they are {places}")
        return self


def load_position_curve(path: Path) -> PositionCurve:
    """Read a file that `save_position_curve` wrote.

    Raises:
        ConfigError: it cannot be read, or a field is missing, unknown, of another type or out of range.
    """
    try:
        return PositionCurve.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the position curve {path}: {reason}") from error
    except ValidationError as error:
        problems = "; ".join(
            explain(problem, PositionCurve, "field", shows_value=False) for problem in error.errors()
        )
        raise ConfigError(f"{path} is no position curve of format {FORMAT}: {problems}") from error


def save_position_curve(curve: PositionCurve, path: Path) -> None:
    """Write the curve as JSON, wholly or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(curve.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode())


def stored_curve(path: str) -> PositionCurve:
    """As `load_position_curve`, read anew only where the file has changed."""
    try:
        facts = Path(path).stat()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read the position curve {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return _read(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=16)
def _read(path: str, _changed_ns: int, _size: int) -> PositionCurve:
    return load_position_curve(Path(path))


def choose_order(curve: PositionCurve, k: int) -> tuple[Order, str]:
    """The order of k sources that puts the best ranks where the model reads best, and why.

    The accuracy expected of an order is the mean of the accuracies at its positions, the source of rank i with the
    weight 1/i. Between measured positions accuracy is taken to be linear, over the share of the way from the first
    passage to the last. "ends" or "reverse" is chosen, the better of them, where what it gains over "rank" is more
    than the half-widths of the intervals allow for (added in quadrature, for positions are measured apart);
    otherwise the order is "rank".
    """
    accuracy = np.array([point.accuracy for point in curve.positions])
    doubt = np.array([(point.high - point.low) / 2 for point in curve.positions])
    plain = _shares(curve, rank_positions(k))
    best: tuple[float, float, Order] = (0.0, 0.0, "rank")
    candidates: tuple[tuple[Order, Permutation], ...] = (
        ("ends", ends_positions(k)),
        ("reverse", reverse_positions(k)),
    )
    for order, positions in candidates:
        change = _shares(curve, positions) - plain
        gain, allowance = float(change @ accuracy), float(np.linalg.norm(change * doubt))
        if gain > allowance and gain > best[0]:
            best = (gain, allowance, order)
    gain, allowance, order = best
    measured = f"the position curve of {curve.model} ({curve.num_passages} passages, {curve.date})"
    if order == "rank":
        return order, f"{measured} shows no other order of {k} to be better by more than its intervals"
    return order, f"{measured} expects {gain:.3f} more accuracy than in rank order (intervals: {allowance:.3f})"


def is_of_model(curve: PositionCurve, engine: str) -> bool:
    """Whether an engine's name is the curve's model: by the last part of both, for folders and hub names."""
    return _last(curve.model) == _last(engine)


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()


def _shares(curve: PositionCurve, positions: Sequence[int]) -> NDArray[np.float64]:
    """float64 (measured positions,): how much the accuracy at each counts for an order's expected one."""
    measured = [(point.position - 1) / (curve.num_passages - 1) for point in curve.positions]
    k = len(positions)
    shares = np.zeros(len(measured))
    if k == 0:
        return shares
    weights = 1 / np.arange(1, k + 1)
    weights /= weights.sum()
    for weight, position in zip(weights, positions, strict=True):
        place = (position - 1) / (k - 1) if k > 1 else 0.0
        right = min(max(int(np.searchsorted(measured, place)), 1), len(measured) - 1)
        part = (place - measured[right - 1]) / (measured[right] - measured[right - 1])
        shares[right - 1] += weight * (1 - part)
        shares[right] += weight * part
    return shares
