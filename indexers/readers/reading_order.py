"""The order in which lines on an image are read: column after column, rows from top to bottom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A column of prose has this many lines at least, each this many times as wide as high (some 16 letters),
# and takes this share of the width. Labels and figures of a form or a table do not, so their rows stay whole.
_FEWEST_LINES = 3
_PROSE_ASPECT = 8.0
_COLUMN_SHARE = 0.2
# Headings, footers and wide figures may cross the gutter between columns.
_MOST_CROSSING_SHARE = 0.25


def reading_rows(boxes: NDArray[np.float64]) -> list[list[int]]:
    """Indices of the lines in reading order, those of one row together.

    boxes: (n, 4), left, top, right, bottom of each line in pixels, the origin top left.
    """
    return _rows_of(boxes, np.arange(len(boxes)))


def _rows_of(boxes: NDArray[np.float64], members: NDArray[np.int64]) -> list[list[int]]:
    gutter = _find_gutter(boxes[members])
    if gutter is None:
        return _rows_across(boxes, members)
    left = members[boxes[members, 2] <= gutter]
    right = members[boxes[members, 0] >= gutter]
    crossing = np.setdiff1d(members, np.concatenate([left, right]))
    middle = _middles(boxes)
    rows: list[list[int]] = []
    above = -np.inf
    for row in [*_rows_across(boxes, crossing), None]:
        # Columns are read between two rows that cross the gutter, never past one.
        below = np.inf if row is None else min(middle[row])
        for column in (left, right):
            between = column[(middle[column] >= above) & (middle[column] < below)]
            if len(between):
                rows += _rows_of(boxes, between)
        rows += [] if row is None else [row]
        above = below
    return rows


def _rows_across(boxes: NDArray[np.float64], members: NDArray[np.int64]) -> list[list[int]]:
    """Rows from top to bottom, each from left to right."""
    middle = _middles(boxes)
    rows: list[list[int]] = []
    for index in members[np.argsort(middle[members], kind="stable")].tolist():
        first = rows[-1][0] if rows else None
        if first is not None and middle[index] < middle[first] + _half_height(boxes, first, index):
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda index: (boxes[index, 0], index)) for row in rows]


def _find_gutter(boxes: NDArray[np.float64]) -> float | None:
    """The x that parts two columns of prose; None where there are none."""
    if len(boxes) < 2 * _FEWEST_LINES:
        return None
    best: tuple[int, float] | None = None
    gutter = None
    for x in np.unique(boxes[:, 0])[1:]:
        left, right = boxes[boxes[:, 2] <= x], boxes[boxes[:, 0] >= x]
        crossing = len(boxes) - len(left) - len(right)
        if crossing > _MOST_CROSSING_SHARE * len(boxes) or not _are_columns(left, right, boxes):
            continue
        rank = (crossing, -float(x - left[:, 2].max()))
        if best is None or rank < best:
            best, gutter = rank, float(x)
    return gutter


def _are_columns(left: NDArray[np.float64], right: NDArray[np.float64], both: NDArray[np.float64]) -> bool:
    if min(len(left), len(right)) < _FEWEST_LINES:
        return False
    width = both[:, 2].max() - both[:, 0].min()
    top, bottom = max(left[:, 1].min(), right[:, 1].min()), min(left[:, 3].max(), right[:, 3].max())
    for column in (left, right):
        widths, heights = column[:, 2] - column[:, 0], column[:, 3] - column[:, 1]
        if np.median(widths) < _PROSE_ASPECT * np.median(heights):
            return False
        if column[:, 2].max() - column[:, 0].min() < _COLUMN_SHARE * width:
            return False
    shorter = min(np.ptp(left[:, [1, 3]]), np.ptp(right[:, [1, 3]]))
    return bool(bottom - top >= 0.5 * shorter)


def _middles(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    middles: NDArray[np.float64] = (boxes[:, 1] + boxes[:, 3]) / 2
    return middles


def _half_height(boxes: NDArray[np.float64], first: int, second: int) -> float:
    return float(min(boxes[first, 3] - boxes[first, 1], boxes[second, 3] - boxes[second, 1])) / 2
