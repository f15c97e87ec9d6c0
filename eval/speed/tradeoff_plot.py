"""Bytes and search times against nDCG@10, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from ragkit.eval.speed.tradeoff import CONFIDENCE, MEASURE, VariantSummary
from ragkit.files import atomic_write

_WIDTH, _HEIGHT, _ROW = 520, 340, 22
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 56
_LEGEND_COLUMN = 260
# Told apart in print, too: no two of the first six are alike in shape.
_COLOURS = ("#1b5e9b", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0f766e", "#a16207", "#374151")
_SHAPES = (
    "M-5,0A5,5 0 1,0 5,0A5,5 0 1,0 -5,0Z",
    "M-5,-5H5V5H-5Z",
    "M0,-6L6,5H-6Z",
    "M0,-7L7,0L0,7L-7,0Z",
    "M-5,-5L5,5M-5,5L5,-5",
    "M0,-6V6M-6,0H6",
)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Linear from data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def save_plot(summaries: Sequence[VariantSummary], path: Path) -> None:
    """Two plots side by side: bytes a page and milliseconds a search (p50), each against nDCG@10."""
    ticks = round_ticks(
        min(one.ndcg_interval.low for one in summaries), max(one.ndcg_interval.high for one in summaries)
    )
    rows = math.ceil(len(summaries) / (2 * _WIDTH // _LEGEND_COLUMN))
    height = _HEIGHT + rows * _ROW + 12
    panels = [
        _panel(summaries, [one.bytes_per_page for one in summaries], ticks, "bytes a page on disk", 0),
        _panel(summaries, [one.p50_ms for one in summaries], ticks, "ms a search, median", _WIDTH),
    ]
    legend = [_legend_entry(number, one) for number, one in enumerate(summaries)]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {height}" width="{2 * _WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="#111">',
        f"<title>Storage and search time against {MEASURE}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(line for panel in panels for line in panel),
        *legend,
        "</svg>",
    ]
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _panel(
    summaries: Sequence[VariantSummary], across: Sequence[float], ticks: Sequence[float], title: str, left: int
) -> list[str]:
    x_ticks = round_ticks(0.0, max(across))
    x = _Scale(x_ticks[0], x_ticks[-1], left + _LEFT, left + _WIDTH - _RIGHT)
    y = _Scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    lines = [_grid(x.at(tick), _TOP, x.at(tick), _HEIGHT - _BOTTOM) for tick in x_ticks]
    lines += [_grid(x.start, y.at(tick), x.end, y.at(tick)) for tick in ticks]
    lines += [_text(x.at(tick), _HEIGHT - _BOTTOM + 18, _number(tick, x_ticks), "middle") for tick in x_ticks]
    lines += [_text(x.start - 8, y.at(tick) + 4, _number(tick, ticks), "end") for tick in ticks]
    lines.append(_text((x.start + x.end) / 2, _HEIGHT - 16, title, "middle"))
    middle = (y.start + y.end) / 2
    label = escape(f"{MEASURE}, {CONFIDENCE:.0%} intervals")
    lines.append(
        f'<text x="{left + 18}" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 {left + 18} {middle:.1f})">{label}</text>'
    )
    for number, (one, value) in enumerate(zip(summaries, across, strict=True)):
        place, colour = x.at(value), _COLOURS[number % len(_COLOURS)]
        low, high = y.at(one.ndcg_interval.low), y.at(one.ndcg_interval.high)
        lines.append(
            f'<line x1="{place:.1f}" y1="{low:.1f}" x2="{place:.1f}" y2="{high:.1f}" stroke="{colour}" '
            'stroke-opacity="0.5"/>'
        )
        lines.append(_mark(number, place, y.at(one.ndcg), one.result.variant.name))
    return lines


def _legend_entry(number: int, one: VariantSummary) -> str:
    columns = 2 * _WIDTH // _LEGEND_COLUMN
    left = _LEFT / 2 + number % columns * _LEGEND_COLUMN
    top = _HEIGHT + 12 + number // columns * _ROW
    name = one.result.variant.name
    return _mark(number, left, top - 4, name) + _text(left + 14, top, name, "start")


def _mark(number: int, x: float, y: float, name: str) -> str:
    """An outline, so that marks on one another can all be seen."""
    colour, shape = _COLOURS[number % len(_COLOURS)], _SHAPES[number % len(_SHAPES)]
    return (
        f'<path d="{shape}" transform="translate({x:.1f} {y:.1f})" fill="none" stroke="{colour}" '
        f'stroke-width="2"><title>{escape(name)}</title></path>'
    )


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers, some five of them, from at most `low` to at least `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _number(tick: float, ticks: Sequence[float]) -> str:
    places = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return f"{tick:,.{places}f}"
