from __future__ import annotations

import numpy as np

from ragkit.indexers.readers.reading_order import reading_rows


def lines(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    """Boxes from left, top, width, height."""
    table = np.array(boxes, float).reshape(-1, 4)
    table[:, 2:] += table[:, :2]
    return table


def test_nothing() -> None:
    assert reading_rows(lines()) == []


def test_one_column_whatever_the_order_given() -> None:
    assert reading_rows(lines((10, 80, 200, 10), (10, 20, 180, 10), (10, 50, 190, 10))) == [[1], [2], [0]]


def test_pieces_of_one_row_are_together_from_left_to_right() -> None:
    # A label and its value, the value set two pixels higher; then the next row.
    assert reading_rows(lines((200, 8, 50, 12), (10, 10, 60, 12), (10, 40, 60, 12))) == [[1, 0], [2]]


def test_two_columns_are_read_one_after_the_other() -> None:
    left = [(10.0, 100.0 + 20 * row, 200.0, 12.0) for row in range(4)]
    right = [(240.0, 100.0 + 20 * row, 190.0, 12.0) for row in range(4)]
    mixed = [line for pair in zip(left, right, strict=True) for line in pair]
    assert reading_rows(lines(*mixed)) == [[0], [2], [4], [6], [1], [3], [5], [7]]


def test_heading_between_and_footer_part_the_columns() -> None:
    boxes = [(50.0, 10.0, 300.0, 20.0)]  # 0: title across
    for top in (50, 70, 90):
        boxes += [(10.0, top, 190.0, 12.0), (240.0, top, 190.0, 12.0)]  # 1-6
    boxes += [(60.0, 130.0, 320.0, 14.0)]  # 7: heading across
    for top in (160, 180, 200):
        boxes += [(10.0, top, 190.0, 12.0), (240.0, top, 190.0, 12.0)]  # 8-13
    boxes += [(205.0, 400.0, 30.0, 10.0)]  # 14: page number over the gutter
    expected = [0, 1, 3, 5, 2, 4, 6, 7, 8, 10, 12, 9, 11, 13, 14]
    assert [index for row in reading_rows(lines(*boxes)) for index in row] == expected


def test_three_columns() -> None:
    boxes = [(150.0 * column, 20.0 * row, 130.0, 10.0) for row in range(5) for column in range(3)]
    order = [index for row in reading_rows(lines(*boxes)) for index in row]
    assert order == [0, 3, 6, 9, 12, 1, 4, 7, 10, 13, 2, 5, 8, 11, 14]


def test_form_and_table_are_read_by_rows() -> None:
    form = [box for row in range(6) for box in ((10.0, 30.0 * row, 60.0, 12.0), (200.0, 30.0 * row, 150.0, 12.0))]
    assert reading_rows(lines(*form)) == [[2 * row, 2 * row + 1] for row in range(6)]
    table = [(100.0 * column, 20.0 * row, 50.0, 10.0) for row in range(4) for column in range(5)]
    assert reading_rows(lines(*table)) == [list(range(5 * row, 5 * row + 5)) for row in range(4)]
