"""What indexing page pictures costs: the whole pipeline beside its two stages measured alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.eval.speed.timing import Fact

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class PageSpeedReport:
    """Seconds for the same pages, all in one run.

    render_s: drawing (and keeping) them, with nothing beside it. embed_s: embedding pictures that lie in
    memory, with nothing beside it; preprocess_s and model_s are its parts, which may overlap.
    pipeline_s: a whole indexing run.
    """

    num_pages: int
    render_s: float
    embed_s: float
    preprocess_s: float
    model_s: float
    pipeline_s: float
    facts: Mapping[str, Fact]

    @property
    def efficiency(self) -> float:
        """The pipeline's rate as a share of the slower stage's rate: at most 1 where nothing is lost."""
        return max(self.render_s, self.embed_s) / self.pipeline_s

    @property
    def shares(self) -> dict[str, float]:
        """Shares of rendering, preprocessing and model in the sum of the three."""
        parts = {"render": self.render_s, "preprocess": self.preprocess_s, "model": self.model_s}
        total = sum(parts.values())
        return {name: seconds / total for name, seconds in parts.items()}

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval speed --pages --json`` prints."""
        return {
            "pages": self.num_pages,
            "pages_per_s": self.num_pages / self.pipeline_s,
            "seconds": {
                "pipeline": self.pipeline_s,
                "render": self.render_s,
                "embed": self.embed_s,
                "preprocess": self.preprocess_s,
                "model": self.model_s,
            },
            "shares": self.shares,
            "efficiency": self.efficiency,
            "facts": dict(self.facts),
        }

    def table(self) -> Table:
        """What ``ragkit eval speed --pages`` prints."""
        from rich.table import Table

        caption = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        table = Table(f"{self.num_pages} pages", "s", "pages/s", "share", caption=caption)
        seconds = {"render": self.render_s, "preprocess": self.preprocess_s, "model": self.model_s}
        for name, share in self.shares.items():
            table.add_row(name, f"{seconds[name]:.2f}", _rate(self.num_pages, seconds[name]), f"{share:.2f}")
        table.add_row("embedding alone", f"{self.embed_s:.2f}", _rate(self.num_pages, self.embed_s), "")
        table.add_row("pipeline", f"{self.pipeline_s:.2f}", _rate(self.num_pages, self.pipeline_s), "")
        table.add_row("rate of the pipeline / of the slower stage", "", f"{self.efficiency:.3f}", "")
        return table


def _rate(num_pages: int, seconds: float) -> str:
    return f"{num_pages / seconds:.2f}" if seconds else "-"
