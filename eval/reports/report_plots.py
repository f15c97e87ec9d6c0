"""Plots of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.reports.comparison import Comparison
from ragkit.eval.reports.comparison_tables import number
from ragkit.eval.reports.svg_plots import COLOURS, legend_below, look, short_name, svg_of
from ragkit.eval.runs.systems import System
from ragkit.eval.sets.trec import Qrels

RECALL_DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Plot:
    """title: what stands above it. svg: one <svg> element. description: what it shows, for those who hear it."""

    title: str
    svg: str
    description: str


def difference_plot(comparison: Comparison, a: str, b: str) -> Plot:
    """A bar for each query, by the first measure: what b scores above a, sorted, in the colour of the better."""
    measure = comparison.measures[0]
    values = sorted(comparison.query_differences(a, b, measure).values(), reverse=True)
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(comparison.systems)}
    better, worse = sum(value > 0 for value in values), sum(value < 0 for value in values)

    def draw(axes: Any) -> None:
        # Two filled outlines: a bar for each of ten thousand queries would take megabytes.
        edges = [rank + 0.5 for rank in range(len(values) + 1)]
        axes.stairs([max(value, 0.0) for value in values], edges, fill=True, color=colours[b])
        axes.stairs([min(value, 0.0) for value in values], edges, fill=True, color=colours[a])
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.margins(x=0.01)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("queries, sorted by difference")
        axes.set_ylabel(f"difference of {measure}", parse_math=False)

    description = (
        f"{b} is better by {measure} for {better} of {len(values)} queries, worse for {worse}, and alike for "
        f"{len(values) - better - worse}; the differences reach from {number(values[-1])} to {number(values[0])}."
    )
    return Plot(f"{b} less {a}, query by query", svg_of(draw, description), description)


def recall_plot(systems: Sequence[System], qrels: Qrels) -> Plot:
    """Recall of each ranking at growing depths."""
    depths = [depth for depth in RECALL_DEPTHS if depth <= _deepest(systems)]
    names = [f"R@{depth}" for depth in depths]
    curves = {system.name: score_run(qrels, system.run or {}, names).means for system in systems}

    def draw(axes: Any) -> None:
        for place, (name, means) in enumerate(curves.items()):
            axes.plot(depths, [means[one] for one in names], **look(place), label=short_name(name))
        axes.set_xscale("log")
        axes.set_xticks(depths, [str(depth) for depth in depths], rotation=45)
        axes.minorticks_off()
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("documents read (k)")
        axes.set_ylabel("mean recall at k")
        legend_below(axes)

    ends = "; ".join(f"{name} reaches {number(means[names[-1]])}" for name, means in curves.items())
    description = f"Mean recall from {depths[0]} to {depths[-1]} documents: {ends}."
    return Plot("Recall at k documents", svg_of(draw, description), description)


def latency_plot(comparison: Comparison, seconds: Mapping[str, float]) -> Plot:
    """Median milliseconds a query against the mean of the first measure, with its interval."""
    measure = comparison.measures[0]
    means = {name: comparison.means[name][measure] for name in seconds}

    def draw(axes: Any) -> None:
        for place, (name, mean) in enumerate(means.items()):
            # A corrected interval of very skewed values may leave the mean out.
            ends = (mean.value - mean.interval.low, mean.interval.high - mean.value)
            bars = [[max(end, 0.0)] for end in ends]
            style = {**look(place), "linestyle": "none", "markersize": 6}
            axes.errorbar(
                [1e3 * seconds[name]], [mean.value], yerr=bars, capsize=3, label=short_name(name), **style
            )
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
        axes.set_xlabel("median time of a query, ms")
        axes.set_ylabel(f"mean {measure}", parse_math=False)
        legend_below(axes)

    each = "; ".join(
        f"{name} takes {1e3 * seconds[name]:.2f} ms for {number(mean.value)}" for name, mean in means.items()
    )
    description = f"Median time of a query against mean {measure}: {each}."
    return Plot("Latency against quality", svg_of(draw, description), description)


def _deepest(systems: Sequence[System]) -> int:
    """Of the longest ranking, at least 10."""
    return max([10, *(len(scores) for system in systems for scores in (system.run or {}).values())])
