"""The table: for each size a measure a line, a tool a column, each figure with its ratio to ragkit's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BASE = "ragkit"
NOT_POSSIBLE = "not possible"

# What a tool's steps have measured, and "<step>_error" for those that have failed.
Result = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Measure:
    """step: the one that gives it. digits: after the point. has_ratio: whether peer/ragkit says something."""

    key: str
    label: str
    step: str
    digits: int = 2
    has_ratio: bool = True


MEASURES = (
    Measure("build_s", "build and save, s", "build"),
    Measure("disk_mb", "on disk, MB", "build", 1),
    Measure("import_s", "importing the libraries, s", "search"),
    Measure("open_s", "open until the first answer, s", "search", 3),
    Measure("resident_mb", "memory added after the searches, MB", "search", 1),
    Measure("own_mb", "of it not of files, MB", "search", 1),
    Measure("p50_ms", "search p50, ms", "search"),
    Measure("p95_ms", "search p95, ms", "search"),
    Measure("searches_per_s", "searches/s", "search", 0),
    Measure("num_searches", "searches made", "search", 0, has_ratio=False),
    Measure("recall", "recall@10", "search", 3, has_ratio=False),
    Measure("part_p50_ms", "filtered to 1 %: p50, ms", "search_part"),
    Measure("part_recall", "filtered to 1 %: recall@10", "search_part", 3, has_ratio=False),
    Measure("add_s", "add 100 documents and save, s", "add", 3),
    Measure("added_found", "of these found after reopening", "check_added", 0, has_ratio=False),
    Measure("delete_s", "delete one document and save, s", "delete", 3),
    Measure("deleted_found", "deleted one found after reopening", "check_deleted", 0, has_ratio=False),
    Measure("changed_p50_ms", "search p50 after changes, ms", "search_changed"),
    Measure("changed_recall", "recall@10 after changes", "search_changed", 3, has_ratio=False),
)


def markdown(size: int, results: Mapping[str, Result]) -> str:
    """The table of one size, and below it what failed, in the tools' own words."""
    lines = [f"### {size:,} documents", "", _row("", list(results)), _row("---", ["---:"] * len(results))]
    base = results.get(BASE, {})
    lines += [_row(one.label, [cell(one, result, base) for result in results.values()]) for one in MEASURES]
    notes = [
        f"- {tool}, {key.removesuffix('_error')}: {text}"
        for tool, result in results.items()
        for key, text in result.items()
        if key.endswith("_error")
    ]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def cell(measure: Measure, result: Result, base: Result) -> str:
    """A figure such as "1.25 (×2.50)"; what failed or was not measured says so."""
    value = result.get(measure.key)
    if not isinstance(value, float | int):
        return why_missing(measure, result)
    shown = f"{value:,.{measure.digits}f}"
    ratio = ratio_of(measure, result, base)
    return shown if result is base or ratio is None else f"{shown} (×{ratio:.3g})"


def ratio_of(measure: Measure, result: Result, base: Result) -> float | None:
    """peer/ragkit; None where either is missing or nothing can be divided by."""
    value, of = result.get(measure.key), base.get(measure.key)
    if not measure.has_ratio or not isinstance(value, float | int) or not isinstance(of, float | int) or of <= 0:
        return None
    return value / of


def why_missing(measure: Measure, result: Result) -> str:
    """ "not possible" where the tool says that it is not implemented, else "error" or "-"."""
    error = result.get(f"{measure.step}_error")
    if not isinstance(error, str):
        return "-"
    return NOT_POSSIBLE if is_refusal(error) else "error"


def is_refusal(error: str) -> bool:
    """Whether a tool has said that it cannot do this at all."""
    return "not implemented" in error.lower() or "not yet implemented" in error.lower()


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([label, *cells])} |"
