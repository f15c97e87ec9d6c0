"""The drawing of a trade-off: where its marks stand, and what is written beside them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ragkit.eval.speed.tradeoff import Variant, VariantResult, VariantSummary, summarise_variants
from ragkit.eval.speed.tradeoff_plot import round_ticks, save_plot

SVG = "{http://www.w3.org/2000/svg}"


def summaries() -> list[VariantSummary]:
    by_query = {"a": 0.2, "b": 0.6}
    few = VariantResult(Variant("flat"), 10, 10, "exact", "", 1.0, 500, 0, 0, by_query)
    many = VariantResult(Variant("IVF<2>"), 10, 10, "IVF2", "", 1.0, 500, 500, 0, by_query)
    return summarise_variants([few, many], {"flat": [0.004], "IVF<2>": [0.001]})


def marks(path: Path) -> list[tuple[str, float, float]]:
    """Name and place of each mark, in the order of the file."""
    found = []
    for element in ET.parse(path).iter(f"{SVG}path"):
        x, y = re.fullmatch(r"translate\((\S+) (\S+)\)", element.attrib["transform"]).groups()
        found.append((element[0].text, float(x), float(y)))
    return found


def test_marks_stand_by_bytes_and_by_time_at_their_ndcg(tmp_path: Path):
    save_plot(summaries(), tmp_path / "plot.svg")
    by_bytes, by_time, legend = (marks(tmp_path / "plot.svg")[start : start + 2] for start in (0, 2, 4))
    # Bytes run from 0 to 100 between x = 70 and 500, times from 0 to 4 between 590 and 1020.
    assert by_bytes == [("flat", 285.0, pytest.approx(152)), ("IVF<2>", 500.0, pytest.approx(152))]
    assert [(name, x) for name, x, _ in by_time] == [("flat", 1020.0), ("IVF<2>", 697.5)]
    assert [name for name, _, _ in legend] == ["flat", "IVF<2>"]


def test_axes_are_named_and_the_drawing_is_the_same_each_time(tmp_path: Path):
    for name in ("one.svg", "two.svg"):
        save_plot(summaries(), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    texts = [element.text for element in ET.parse(tmp_path / "one.svg").iter(f"{SVG}text")]
    assert {"bytes a page on disk", "ms a search, median", "IVF<2>", "0", "100", "4"} <= set(texts)
    assert texts.count("nDCG@10, 95% intervals") == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 50, 100]),
        (0, 1536, [0, 500, 1000, 1500, 2000]),
        (0.41, 0.52, [0.4, 0.45, 0.5, 0.55]),
        (0.5, 0.5, [0.4, 0.6]),
        (0, 0, [0, 0.5]),
    ],
)
def test_ticks_are_round_and_hold_all_values(low: float, high: float, expected: list[float]):
    found = round_ticks(low, high)
    assert found[0] <= low + 1e-9
    assert found[-1] >= high - 1e-9
    assert found == pytest.approx(expected)
