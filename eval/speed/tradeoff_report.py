"""What `ragkit eval tradeoff` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.eval.speed.tradeoff import CONFIDENCE, MEASURE, VariantSummary

if TYPE_CHECKING:
    from rich.console import Group

Fact = str | int | float
_CAPTION = "bytes of files: all (vectors + index + token vectors); search: median (95th percentile)"


@dataclass(frozen=True, slots=True)
class TradeoffReport:
    """All variants, the first of which the others are compared with. notes: what a reader should know."""

    summaries: tuple[VariantSummary, ...]
    facts: Mapping[str, Fact]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval tradeoff --json`` prints."""
        return {
            "variants": [summary.to_json() for summary in self.summaries],
            "measure": MEASURE,
            "confidence": CONFIDENCE,
            "facts": dict(self.facts),
            "notes": list(self.notes),
        }

    def table(self) -> Group:
        """What ``ragkit eval tradeoff`` prints."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=_CAPTION)
        for name in ("variant", "built"):
            table.add_column(name, no_wrap=True)
        for name in ("bytes a page", "search, ms", "recall@10", MEASURE, "change"):
            table.add_column(name)
        for summary in self.summaries:
            table.add_row(*map(Text, _cells(summary)))
        said = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        return Group(table, *map(Text, (said, *self.notes)))


def _cells(summary: VariantSummary) -> list[str]:
    result = summary.result
    parts = [result.vector_bytes, result.index_bytes, *([result.token_bytes] if result.token_bytes else [])]
    sizes = " + ".join(f"{part / max(1, result.num_pages):,.0f}" for part in parts)
    change = summary.change_interval
    return [
        result.variant.name,
        result.factory,
        f"{summary.bytes_per_page:,.0f} ({sizes})",
        f"{summary.p50_ms:.2f} ({summary.p95_ms:.2f})",
        f"{result.recall:.3f}",
        f"{summary.ndcg:.4f} ({summary.ndcg_interval.low:.4f} to {summary.ndcg_interval.high:.4f})",
        f"{summary.change:+.4f} ({change.low:+.4f} to {change.high:+.4f})",
    ]
