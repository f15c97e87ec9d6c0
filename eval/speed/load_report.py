"""What a server bore, beside the bare search below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

Fact = str | int | float


@dataclass(frozen=True, slots=True)
class LoadFigure:
    """One measure. asked: what it should be, such as "<= 5"; "" where it is only told."""

    name: str
    value: float
    unit: str = ""
    asked: str = ""

    @property
    def is_met(self) -> bool | None:
        """None where nothing was asked."""
        relation, _, bound = self.asked.partition(" ")
        if not relation:
            return None
        return {
            "<=": self.value <= float(bound),
            ">=": self.value >= float(bound),
            "=": self.value == float(bound),
        }[relation]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """facts: machine, sizes, seconds."""

    figures: tuple[LoadFigure, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval load --json`` prints."""
        return {
            "figures": [
                {**asdict(one), "value": _finite(one.value), "is_met": one.is_met} for one in self.figures
            ],
            "facts": dict(self.facts),
        }

    def table(self) -> Table:
        """What ``ragkit eval load`` prints."""
        from rich.table import Table

        caption = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        table = Table("", "measured", "asked", "", caption=caption)
        for figure in self.figures:
            verdict = {None: "", True: "met", False: "NOT MET"}[figure.is_met]
            table.add_row(figure.name, f"{figure.value:.4g} {figure.unit}".strip(), figure.asked, verdict)
        return table


def _finite(value: float) -> float | None:
    """JSON has neither infinity nor NaN."""
    return value if math.isfinite(value) else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    # In whole parts of a million: 0.95 * 20 is a little more than 19.
    wanted = -(-len(ordered) * round(share * 1_000_000) // 1_000_000)
    return ordered[max(wanted, 1) - 1]


def growth(values: Sequence[float], span: int = 60) -> float:
    """Of the mean of the last `span` values against that of the second `span`, as a share.

    What begins in the first is not counted. Of less than six spans the last sixth against the second.
    """
    size = max(min(span, len(values) // 6), 1)
    second, last = values[size : 2 * size] or values, values[-size:]
    return (sum(last) / len(last)) / (sum(second) / len(second)) - 1


def histogram_bound(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """The least bound of a histogram below which this share of what came between two readings lies.

    before, after: cumulative counts by upper bound, the last of them infinity; NaN where nothing came.
    """
    counts = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    total = max(counts.values(), default=0.0)
    if not total:
        return float("nan")
    return min(bound for bound, count in counts.items() if count >= share * total)


def buckets_of(text: str, name: str) -> dict[float, float]:
    """Cumulative counts by upper bound of one histogram without labels in Prometheus' text format."""
    start = f'{name}_bucket{{le="'
    found = (line.removeprefix(start).partition('"} ') for line in text.splitlines() if line.startswith(start))
    return {float(bound): float(count) for bound, _, count in found}
