"""Comparing the time that ragkit takes with that of the bare libraries below it, in one run."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

Fact = str | int | float
# Does the work of one repetition; the number of the repetition chooses, say, the query.
Work = Callable[[int], object]

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds of the same work done both ways.

    num_units: how many of `unit` ("texts", "queries") a repetition works on.
    ours_s, bare_s: seconds of each repetition; the repetitions of both were interleaved.
    """

    name: str
    unit: str
    num_units: int
    ours_s: tuple[float, ...]
    bare_s: tuple[float, ...]

    @property
    def ours_median_s(self) -> float:
        return statistics.median(self.ours_s)

    @property
    def bare_median_s(self) -> float:
        return statistics.median(self.bare_s)

    @property
    def speedup(self) -> float:
        """How many times faster than bare: median bare seconds a median second of ours."""
        return self.bare_median_s / self.ours_median_s

    @property
    def time_ratio(self) -> float:
        """How many times slower than bare: the inverse of `speedup`."""
        return self.ours_median_s / self.bare_median_s

    def to_json(self) -> dict[str, object]:
        """Medians, rates and ratios, and every repetition."""
        return {
            "name": self.name,
            "unit": self.unit,
            "num_units": self.num_units,
            "ours_median_s": self.ours_median_s,
            "bare_median_s": self.bare_median_s,
            "ours_per_s": self.num_units / self.ours_median_s,
            "bare_per_s": self.num_units / self.bare_median_s,
            "speedup": self.speedup,
            "time_ratio": self.time_ratio,
            "ours_s": list(self.ours_s),
            "bare_s": list(self.bare_s),
        }


def compare(
    name: str,
    ours: Work,
    bare: Work,
    *,
    repeats: int,
    unit: str,
    num_units: int = 1,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Time two ways of doing the same work, in turns, so that a busy moment of the machine meets both.

    The side that begins changes from one repetition to the next: whoever comes second finds the
    caches warm. Warm-ups are not counted.

    Raises:
        ValueError: fewer than one repetition is asked for.
    """
    if repeats < 1:
        raise ValueError(f"{repeats} repetitions; ask for at least one")
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for repetition in range(-warmups, repeats):
        sides = [("ours", ours), ("bare", bare)]
        for side, work in sides if repetition % 2 == 0 else reversed(sides):
            start = clock()
            work(max(repetition, 0))
            seconds[side].append(clock() - start)
    return Comparison(name, unit, num_units, tuple(seconds["ours"][warmups:]), tuple(seconds["bare"][warmups:]))


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """Comparisons, and what a reader needs to judge them by.

    facts: machine, precision, sizes. quality: measures of both ways and their difference, by name.
    """

    comparisons: tuple[Comparison, ...]
    facts: Mapping[str, Fact]
    quality: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval speed --json`` prints."""
        return {
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "quality": dict(self.quality),
            "facts": dict(self.facts),
        }

    def table(self) -> Table:
        """What ``ragkit eval speed`` prints."""
        from rich.table import Table

        caption = "; ".join(f"{name}: {value}" for name, value in {**self.facts, **self.quality}.items())
        table = Table("", "ragkit", "bare", "speed-up", "time ratio", caption=caption)
        for one in self.comparisons:
            cells = [_shown(one.num_units, median, one.unit) for median in (one.ours_median_s, one.bare_median_s)]
            table.add_row(one.name, *cells, f"{one.speedup:.2f}", f"{one.time_ratio:.3f}")
        return table


def machine_facts() -> dict[str, Fact]:
    """Processor, cores this process may use, Python, and torch's threads where torch is loaded."""
    facts: dict[str, Fact] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch"] = str(torch.__version__)
        facts["torch_threads"] = int(torch.get_num_threads())
    return facts


def _processor() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _shown(num_units: int, seconds: float, unit: str) -> str:
    if num_units == 1:
        return f"{seconds * 1000:.2f} ms"
    return f"{num_units / seconds:.1f} {unit}/s"
