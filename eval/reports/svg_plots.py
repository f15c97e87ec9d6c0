"""Plots as SVG to stand within a page: text stays text, nothing is fetched from elsewhere."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

from ragkit.eval.reports.text_tables import one_line
from ragkit.extras import require

# Told apart by people who see few colours (Okabe and Ito 2008), the light ones left out.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#a34a80", "#5c5c5c", "#8a6d00", "#4b4ba6", "#000000")
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


def svg_of(draw: Callable[[Any], None], description: str) -> str:
    """One <svg> element of what `draw` puts into matplotlib axes; description: for those who hear it."""
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


def look(place: int) -> dict[str, Any]:
    """Colour and marker of the line at a place, from 0."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 4,
        "linewidth": 1.5,
    }


def legend_below(axes: Any) -> None:
    """Below the plot, where it covers nothing; the figure grows by its lines."""
    names = axes.get_legend_handles_labels()[1]
    columns = max(1, min(3, _LINE_CHARACTERS // (max(map(len, names)) + _KEY_CHARACTERS)))
    width, height = _SIZE_INCHES
    axes.figure.set_size_inches(width, height + _LINE_INCHES * -(-len(names) // columns))
    legend = axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def short_name(name: str) -> str:
    """The end of a long name: what tells files of one folder apart. A leading "_" would hide it."""
    line = one_line(name)
    cut = line if len(line) <= _NAME_CHARACTERS else f"…{line[1 - _NAME_CHARACTERS :]}"
    return f"\N{ZERO WIDTH SPACE}{cut}" if cut.startswith("_") else cut
