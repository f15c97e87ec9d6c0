"""What `ragkit eval tradeoff` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.eval.tradeoff import CONFIDENCE, MEASURE, VariantSummary

if TYPE_CHECKING:
    from rich.console import Group

Fact = str | int | float


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

        has_tokens = any(summary.result.token_bytes for summary in self.summaries)
        columns = ["variant", "built", "bytes a passage", "vectors", "index"]
        columns += ["tokens"] if has_tokens else []
        table = Table(*columns, "p50, ms", "p95, ms", "recall@10", MEASURE, "change", caption="bytes are of files")
        for summary in self.summaries:
            table.add_row(*_cells(summary, has_tokens))
        said = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        return Group(table, said, *self.notes)


def _cells(summary: VariantSummary, has_tokens: bool) -> list[str]:
    result = summary.result
    parts = [result.vector_bytes, result.index_bytes, *([result.token_bytes] if has_tokens else [])]
    change = summary.change_interval
    return [
        result.variant.name,
        result.factory,
        f"{summary.bytes_per_passage:,.0f}",
        *(f"{part / max(1, result.num_passages):,.0f}" for part in parts),
        f"{summary.p50_ms:.2f}",
        f"{summary.p95_ms:.2f}",
        f"{result.recall:.3f}",
        f"{summary.ndcg:.4f} ({summary.ndcg_interval.low:.4f} to {summary.ndcg_interval.high:.4f})",
        f"{summary.change:+.4f} ({change.low:+.4f} to {change.high:+.4f})",
    ]
