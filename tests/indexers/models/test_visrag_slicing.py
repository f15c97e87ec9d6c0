"""Slicing of pages: cases by hand, and properties over sizes; test_visrag_golden compares with the authors."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ragkit.indexers.models.visrag_slicing import SlicePlan, SliceRule, best_grid, cut, plan_slices, resize

RULE = SliceRule()
SIDES = st.integers(1, 4000)


def test_a_page_of_one_cell_is_one_picture_enlarged():
    # 300 x 200 has aspect 1.5: height int(448 / sqrt(1.5)) = 365, width int(365 * 1.5) = 547, to multiples of 14.
    assert plan_slices((300, 200), RULE) == SlicePlan((546, 364))


def test_a_wide_page_of_two_cells():
    # 896 x 448 = 2 areas; grids of 2 or 3 cells; aspect 2 is that of (2, 1).
    assert plan_slices((896, 448), RULE) == SlicePlan((630, 322), (2, 1), (896, 448))


def test_of_equally_near_grids_the_first_is_taken():
    # A square lies between (1, 2) and (2, 1).
    assert best_grid((700, 700), 2, 3) == (1, 2)


def test_more_cells_than_allowed_are_no_candidates():
    assert best_grid((1000, 500), 2, 2) == (2, 1)
    assert best_grid((3000, 500), 2, 2) == (2, 1)


def test_one_slice_at_most_is_the_thumbnail_alone():
    assert plan_slices((2000, 3000), SliceRule(max_slices=1)).num_images == 1


@given(SIDES, SIDES, st.integers(1, 12))
def test_sides_are_multiples_of_the_patch_and_cells_are_not_too_many(width: int, height: int, most: int):
    plan = plan_slices((width, height), SliceRule(max_slices=most))
    assert plan.num_images <= most + 1
    assert all(side % 14 == 0 for side in plan.source)
    if plan.grid and plan.refined:
        cells = [side / count for side, count in zip(plan.refined, plan.grid, strict=True)]
        assert all(cell % 14 == 0 for cell in cells)


def test_cells_are_cut_row_by_row_and_joined_are_the_page():
    page = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8))
    plan = SlicePlan((28, 42), (2, 3), (28, 42))
    thumbnail, *cells = cut(page, plan)
    assert [cell.size for cell in cells] == [(14, 14)] * 6
    rows = [np.hstack([np.asarray(cell) for cell in cells[start : start + 2]]) for start in (0, 2, 4)]
    np.testing.assert_array_equal(np.vstack(rows), np.asarray(thumbnail))


def test_pictures_of_other_modes_become_rgb():
    assert {image.mode for image in cut(Image.new("L", (500, 700)), plan_slices((500, 700), RULE))} == {"RGB"}


def test_width_is_resized_before_height():
    page = Image.fromarray(np.random.default_rng(2).integers(0, 256, (900, 30, 3), dtype=np.uint8))
    narrowed = page.resize((14, 900), Image.Resampling.BICUBIC)
    wanted = narrowed.resize((14, 98), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(resize(page, (14, 98))), np.asarray(wanted))
