"""Plots of a comparison as SVG to stand within a page: text stays text, nothing is fetched from elsewhere."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.reports.comparison import Comparison
from ragkit.eval.reports.comparison_tables import number
from ragkit.eval.reports.text_tables import one_line
from ragkit.eval.runs.systems import System
from ragkit.eval.sets.trec import Qrels
from ragkit.extras import require

RECALL_DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
# Told apart by people who see few colours (Okabe and Ito 2008), the light ones left out.
_COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#a34a80", "#5c5c5c", "#8a6d00", "#4b4ba6", "#000000")
# One fewer than colours, so that it takes 56 systems until two look the same.
_MARKERS = "osD^vPX"
_SIZE_INCHES = (5.8, 3.0)
_NAME_CHARACTERS = 32
# Of a legend: what fits beside one another in any usual font, and what the mark before a name takes of it.
_LINE_CHARACTERS, _KEY_CHARACTERS, _LINE_INCHES = 64, 6, 0.2
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.labelpad": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}


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
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(comparison.systems)}
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
    return Plot(f"{b} less {a}, query by query", _svg(draw, description), description)


def recall_plot(systems: Sequence[System], qrels: Qrels) -> Plot:
    """Recall of each ranking at growing depths."""
    depths = [depth for depth in RECALL_DEPTHS if depth <= _deepest(systems)]
    names = [f"R@{depth}" for depth in depths]
    curves = {system.name: score_run(qrels, system.run or {}, names).means for system in systems}

    def draw(axes: Any) -> None:
        for place, (name, means) in enumerate(curves.items()):
            axes.plot(depths, [means[one] for one in names], **_look(place), label=_short(name))
        axes.set_xscale("log")
        axes.set_xticks(depths, [str(depth) for depth in depths], rotation=45)
        axes.minorticks_off()
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("documents read (k)")
        axes.set_ylabel("mean recall at k")
        _legend(axes)

    ends = "; ".join(f"{name} reaches {number(means[names[-1]])}" for name, means in curves.items())
    description = f"Mean recall from {depths[0]} to {depths[-1]} documents: {ends}."
    return Plot("Recall at k documents", _svg(draw, description), description)


def latency_plot(comparison: Comparison, seconds: Mapping[str, float]) -> Plot:
    """Median milliseconds a query against the mean of the first measure, with its interval."""
    measure = comparison.measures[0]
    means = {name: comparison.means[name][measure] for name in seconds}

    def draw(axes: Any) -> None:
        for place, (name, mean) in enumerate(means.items()):
            # A corrected interval of very skewed values may leave the mean out.
            ends = (mean.value - mean.interval.low, mean.interval.high - mean.value)
            bars = [[max(end, 0.0)] for end in ends]
            look = {**_look(place), "linestyle": "none", "markersize": 6}
            axes.errorbar([1e3 * seconds[name]], [mean.value], yerr=bars, capsize=3, label=_short(name), **look)
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
        axes.set_xlabel("median time of a query, ms")
        axes.set_ylabel(f"mean {measure}", parse_math=False)
        _legend(axes)

    each = "; ".join(
        f"{name} takes {1e3 * seconds[name]:.2f} ms for {number(mean.value)}" for name, mean in means.items()
    )
    description = f"Median time of a query against mean {measure}: {each}."
    return Plot("Latency against quality", _svg(draw, description), description)


def _svg(draw: Callable[[Any], None], description: str) -> str:
    matplotlib, figures = require("matplotlib"), require("matplotlib.figure")
    drawn = io.StringIO()
    # Ids within the SVG follow from the salt: the same in each run, others in each plot of a page.
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": description}), warnings.catch_warnings():
        # The page's reader has its own fonts: one that lacks signs of a system's name is not used there.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = figures.Figure(figsize=_SIZE_INCHES, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return _inlined(drawn.getvalue(), description)


def _inlined(svg: str, description: str) -> str:
    """The element alone, named for screen readers, without what would clash with other plots on the page."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    # Sizes come from the page's style sheet, by the viewBox.
    element = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg role="img" {label} \1>', element)
    return element.replace("{label}", f'aria-label="{escape(one_line(description))}"', 1).strip()


def _deepest(systems: Sequence[System]) -> int:
    """Of the longest ranking, at least 10."""
    return max([10, *(len(scores) for system in systems for scores in (system.run or {}).values())])


def _look(place: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 4,
        "linewidth": 1.5,
    }


def _legend(axes: Any) -> None:
    """Below the plot, where it covers nothing; the figure grows by its lines."""
    names = axes.get_legend_handles_labels()[1]
    columns = max(1, min(3, _LINE_CHARACTERS // (max(map(len, names)) + _KEY_CHARACTERS)))
    width, height = _SIZE_INCHES
    axes.figure.set_size_inches(width, height + _LINE_INCHES * -(-len(names) // columns))
    legend = axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _short(name: str) -> str:
    """The end of a long name: what tells files of one folder apart. A leading "_" would hide it."""
    line = one_line(name)
    cut = line if len(line) <= _NAME_CHARACTERS else f"…{line[1 - _NAME_CHARACTERS :]}"
    return f"\N{ZERO WIDTH SPACE}{cut}" if cut.startswith("_") else cut
