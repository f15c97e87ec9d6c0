"""What `ragkit eval context` prints: accuracy by order and number of passages, and by the gold one's position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ragkit.eval.contexts.context_outcomes import (
    CONFIDENCE,
    CellSummary,
    OrderComparison,
    Outcomes,
    SamePrompts,
    common_questions,
    compare_orders,
    same_prompts,
    summarise,
)
from ragkit.eval.measures.significance import Interval

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Fact = str | int | float


@dataclass(frozen=True, slots=True)
class ContextReport:
    """num_common: questions asked in every cell that has any. facts: of the set and the engine.

    not_compared: orders that make the same prompts for every question.
    """

    cells: tuple[CellSummary, ...]
    comparisons: tuple[OrderComparison, ...]
    not_compared: tuple[SamePrompts, ...]
    num_common: int
    facts: Mapping[str, Fact]

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval context --json`` prints."""
        return {
            "facts": dict(self.facts),
            "confidence": CONFIDENCE,
            "intervals": "Wilson for accuracy, bootstrap (BCa) for f1 and differences",
            "questions_in_every_cell": self.num_common,
            "cells": [asdict(summary) for summary in self.cells],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "same_prompts_not_compared": [asdict(pair) for pair in self.not_compared],
        }

    def table(self) -> Group:
        """What ``ragkit eval context`` prints."""
        from rich.console import Group
        from rich.text import Text

        by_order = [summary for summary in self.cells if summary.cell.order is not None]
        by_position = [summary for summary in self.cells if summary.cell.position is not None]
        kinds = dict.fromkeys(summary.cell.negatives for summary in by_order)
        tables = [_orders(kind, [one for one in by_order if one.cell.negatives == kind]) for kind in kinds]
        tables += [_positions(by_position)] if by_position else []
        tables += [_comparisons(self.comparisons)] if self.comparisons else []
        return Group(*tables, *map(Text, self._notes()))

    def _notes(self) -> list[str]:
        said = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        # Most reasons hold for all orders of a k: each is said once.
        skipped = dict.fromkeys(
            f"not asked, {summary.cell.negatives}, k = {summary.cell.k}: {count}, {reason}"
            for summary in self.cells
            for reason, count in summary.skipped.items()
        )
        return [
            f"Accuracy: a gold answer stands in the answer. Intervals of {CONFIDENCE:.0%}: Wilson's for accuracy, "
            "bootstrap for F1 and differences. n: questions asked. common: accuracy over the "
            f"{self.num_common} questions asked in every cell.",
            said,
            *skipped,
            *self._alike(),
        ]

    def _alike(self) -> list[str]:
        """A line for each kind of negatives and each k that has pairs of orders with the same prompts."""
        pairs: dict[tuple[str, int], list[str]] = {}
        for one in self.not_compared:
            pairs.setdefault((one.negatives, one.k), []).append(f"{one.a} and {one.b}")
        return [
            f"not compared, {negatives}, k = {k}: the same prompts for every question: {', '.join(alike)}"
            for (negatives, k), alike in pairs.items()
        ]


def report_sweep(outcomes: Outcomes, seed: int, facts: Mapping[str, Fact]) -> ContextReport:
    """Summarise all cells; `seed` is that of resampling."""
    common = common_questions(outcomes)
    cells = tuple(summarise(cell, found, common, seed) for cell, found in outcomes.items())
    comparisons, alike = tuple(compare_orders(outcomes, seed)), tuple(same_prompts(outcomes))
    return ContextReport(cells, comparisons, alike, len(common), facts)


def _orders(kind: str, summaries: Sequence[CellSummary]) -> Table:
    from rich.table import Table

    table = Table(*_COLUMNS, title=f"negatives: {kind}")
    for summary in summaries:
        table.add_row(str(summary.cell.k), str(summary.cell.order), *_figures(summary))
    return table


def _positions(summaries: Sequence[CellSummary]) -> Table:
    from rich.table import Table

    cell = summaries[0].cell
    title = f"position of the gold passage, negatives: {cell.negatives}"
    table = Table("k", "gold at", *_COLUMNS[2:], title=title)
    for summary in summaries:
        table.add_row(str(summary.cell.k), str(summary.cell.position), *_figures(summary))
    return table


_COLUMNS = ("k", "order", "n", "accuracy", "F1", "common", "misled", "mean tokens")


def _figures(summary: CellSummary) -> list[str]:
    return [
        str(summary.num_asked),
        _with_interval(summary.accuracy, summary.accuracy_interval),
        _with_interval(summary.f1, summary.f1_interval),
        _or_na(summary.common_accuracy, ".3f"),
        _or_na(summary.misled, ".3f"),
        _or_na(summary.mean_tokens, ",.0f"),
    ]


def _comparisons(comparisons: Sequence[OrderComparison]) -> Table:
    from rich.table import Table

    columns = ("negatives", "k", "orders", "n", "difference of accuracy", "p", "p (Holm)")
    table = Table(*columns, title="orders in pairs")
    for one in comparisons:
        table.add_row(
            one.negatives,
            str(one.k),
            f"{one.b} - {one.a}",
            str(one.num_questions),
            _with_interval(one.difference, one.interval, "+.3f"),
            f"{one.p:.4f}",
            f"{one.holm_p:.4f}",
        )
    return table


def _with_interval(mean: float | None, interval: Interval | None, form: str = ".3f") -> str:
    if mean is None or interval is None:
        return "n/a"
    return f"{mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _or_na(value: float | None, form: str) -> str:
    return "n/a" if value is None else f"{value:{form}}"
