"""How far computed numbers are from golden ones, kept for the summary of a test run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


class Deviations:
    """The greatest deviation of each named quantity beside what it may be; counts where equality is asked."""

    def __init__(self) -> None:
        self._near: dict[str, tuple[float, float]] = {}
        self._equal: dict[str, int] = {}

    def assert_near(self, what: str, found: ArrayLike, expected: ArrayLike, tolerance: float) -> None:
        """Assert equal shapes and no element further off than the tolerance."""
        ours, theirs = np.asarray(found), np.asarray(expected)
        assert ours.shape == theirs.shape, what
        deviation = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())
        self._near[what] = (max(deviation, self._near.get(what, (0.0, 0.0))[0]), tolerance)
        assert deviation <= tolerance, f"{what}: {deviation:.2e}, allowed {tolerance:.0e}"

    def assert_equal(self, what: str, found: object, expected: object) -> None:
        """Assert equality and count it."""
        assert found == expected, what
        self._equal[what] = self._equal.get(what, 0) + 1

    def lines(self) -> list[str]:
        near = [f"{what}: {found:.1e} (allowed {most:.0e})" for what, (found, most) in self._near.items()]
        return [*(f"{what}: {count} equal" for what, count in self._equal.items()), *near]
