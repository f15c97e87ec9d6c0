"""What `ragkit eval tradeoff` prints, and draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.eval.tradeoff import CONFIDENCE, MEASURE, VariantSummary
from ragkit.extras import require
from ragkit.files import atomic_write

if TYPE_CHECKING:
    from rich.console import Group

Fact = str | int | float
_MARKERS = "osD^vP*X<>hp"


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


def save_plot(report: TradeoffReport, path: Path) -> None:
    """Two plots side by side as SVG: bytes a passage, and milliseconds a search, against nDCG@10.

    Raises:
        MissingExtraError: matplotlib is absent.
    """
    figure_module = require("matplotlib.figure")
    matplotlib = require("matplotlib")
    # Equal reports give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "ragkit", "svg.fonttype": "none"}):
        figure: Any = figure_module.Figure(figsize=(11, 5.2), layout="constrained")
        by_bytes, by_time = figure.subplots(1, 2, sharey=True)
        _points(by_bytes, report.summaries, [summary.bytes_per_passage for summary in report.summaries])
        _points(by_time, report.summaries, [summary.p50_ms for summary in report.summaries])
        by_bytes.set_xlabel("bytes a passage (vectors and index on disk)")
        by_time.set_xlabel("ms a search (median)")
        by_bytes.set_ylabel(f"{MEASURE} ({CONFIDENCE:.0%} interval)")
        handles, labels = by_bytes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    with atomic_write(path) as file:
        file.write(drawn.getvalue())


def _points(axes: Any, summaries: Sequence[VariantSummary], across: Sequence[float]) -> None:
    for number, (summary, x) in enumerate(zip(summaries, across, strict=True)):
        low, high = summary.ndcg_interval.low, summary.ndcg_interval.high
        axes.errorbar(
            [x],
            [summary.ndcg],
            yerr=[[max(0.0, summary.ndcg - low)], [max(0.0, high - summary.ndcg)]],
            fmt=_MARKERS[number % len(_MARKERS)],
            color=f"C{number % 10}",
            capsize=3,
            markersize=7,
            elinewidth=0.8,
            label=summary.result.variant.name,
        )
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


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
