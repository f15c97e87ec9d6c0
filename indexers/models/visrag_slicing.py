"""How VisRAG-Ret sees a page: a thumbnail of the whole, and beside it a grid of enlarged cells.

MiniCPM-V 2.0's adaptive encoding (LLaVA-UHD, arXiv 2403.11703), with its order of candidates and its
roundings, which decide between equals. Sizes are (width, height) in pixels, grids (columns, rows).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SliceRule:
    """max_slices: cells of the grid. resolution: side of the square whose area an image is brought to.

    patch: sides are multiples of it, in pixels.
    """

    max_slices: int = 9
    resolution: int = 448
    patch: int = 14


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """source: size of the thumbnail. grid and refined (size of the page that is cut) are None without slices."""

    source: Pair
    grid: Pair | None = None
    refined: Pair | None = None

    @property
    def num_images(self) -> int:
        return 1 + (self.grid[0] * self.grid[1] if self.grid else 0)


def plan_slices(size: Pair, rule: SliceRule) -> SlicePlan:
    """Decide thumbnail, grid and sizes for a page of this size."""
    width, height = size
    wanted = min(math.ceil(width * height / rule.resolution**2), rule.max_slices)
    if wanted <= 1:
        return SlicePlan(best_size(size, rule, enlarge=True))
    grid = best_grid(size, wanted, rule.max_slices)
    cell = best_size((_to_multiple(width, grid[0]) / grid[0], _to_multiple(height, grid[1]) / grid[1]), rule, True)
    refined = (cell[0] * grid[0], cell[1] * grid[1])
    return SlicePlan(best_size(size, rule, enlarge=False), grid, refined)


def best_size(size: tuple[float, float], rule: SliceRule, enlarge: bool) -> Pair:
    """The size of about resolution² pixels with this aspect; a smaller one is left so unless `enlarge`."""
    width, height = size
    if enlarge or width * height > rule.resolution**2:
        aspect = width / height
        height = int(rule.resolution / math.sqrt(aspect))
        width = int(height * aspect)
    return _to_multiple(width, rule.patch), _to_multiple(height, rule.patch)


def best_grid(size: Pair, wanted: int, max_slices: int) -> Pair:
    """Among the grids of one cell less than wanted to one more, the nearest in log aspect; the first of equals."""
    counts = [count for count in (wanted - 1, wanted, wanted + 1) if 1 < count <= max_slices]
    grids = [
        (columns, count // columns) for count in counts for columns in range(1, count + 1) if count % columns == 0
    ]
    aspect = math.log(size[0] / size[1])
    return min(grids, key=lambda grid: abs(aspect - math.log(grid[0] / grid[1])))


def cut(image: Image, plan: SlicePlan) -> list[Image]:
    """The thumbnail, then the cells row by row, all RGB."""
    page = image.convert("RGB")
    images = [resize(page, plan.source)]
    if plan.grid and plan.refined:
        refined = resize(page, plan.refined)
        width, height = plan.refined[0] // plan.grid[0], plan.refined[1] // plan.grid[1]
        images += [
            refined.crop((left, top, left + width, top + height))
            for top in range(0, plan.refined[1], height)
            for left in range(0, plan.refined[0], width)
        ]
    return images


def resize(image: Image, size: Pair) -> Image:
    """Bicubic, width first and then height.

    Pillow 13 begins with the height where that is less work; intermediate pixels are rounded, so the
    order shows. Two calls keep the order that the model was trained with.
    """
    from PIL.Image import Resampling

    return image.resize((size[0], image.height), Resampling.BICUBIC).resize(size, Resampling.BICUBIC)


def _to_multiple(length: float, unit: int) -> int:
    return max(round(length / unit) * unit, unit)
