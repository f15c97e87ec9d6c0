"""The report of ragkit eval report in headless Chromium, on a screen and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkit.eval.reports.compare_paths import compare_paths
from ragkit.eval.reports.report_page import write_report
from ragkit.eval.sets.trec import write_qrels, write_run
from tests.browser.chromium import axe_violations, chromium, why_not
from tests.compared_runs import write_retrieval_folder, write_runs

pytestmark = [pytest.mark.browser, pytest.mark.skipif(why_not() != "", reason=why_not())]

LONG = "unbroken" * 30
HARM = "<script>document.title='harm'</script>"
# Text boxes of a plot that overlap another of the same plot by more than a pixel each way.
OVERLAPS = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const found = [];
  boxes.forEach(([text, box], i) => boxes.slice(i + 1).forEach(([other, second]) => {
    if (over(box, second)) found.push(text + ' / ' + other);
  }));
  const whole = svg.getBoundingClientRect();
  boxes.forEach(([text, box]) => {
    const isOut = box.left < whole.left - 1 || box.right > whole.right + 1 || box.bottom > whole.bottom + 1;
    if (isOut) found.push(text);
  });
  return found;
})"""
# Elements that reach out of the window and stand in nothing that scrolls.
WIDE = """() => [...document.querySelectorAll('body *')].filter(one => !one.closest('.wide, svg')
  && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(one => one.outerHTML)"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small report with times, and one of four systems with long names and hostile ids over 300 queries."""
    folder = tmp_path_factory.mktemp("reports")
    paths, qrels = write_runs(folder)
    timed = [
        write_retrieval_folder(folder / name, name, seconds) for name, seconds in (("new", 0.01), ("odd", 0.4))
    ]
    write_report(folder / "small.html", compare_paths([paths[0], *timed], qrels), "1.0")
    rng = np.random.default_rng(0)
    many = []
    documents = [f"d0{HARM}", f"d1{LONG}", *(f"d{place}" for place in range(2, 20))]
    names = [
        "baseline",
        "system-with-quite-a-long-name-a",
        "system-with-quite-a-long-name-b",
        LONG[:120],
    ]
    for number, name in enumerate(names):
        scores = rng.random((300, 20))
        # The first document is the relevant one, and every system ranks it better than the one before.
        scores[:, 0] += number * 0.1
        run = {f"q{query}": dict(zip(documents, map(float, row), strict=True)) for query, row in enumerate(scores)}
        write_run(folder / f"{name}.run", run)
        many.append(folder / f"{name}.run")
    write_qrels(folder / "many.qrels", {f"q{query}": {f"d0{HARM}": 1} for query in range(300)})
    measures = ["nDCG@10", "RR@10", "AP", "R@10", "P@5", "Success@1"]
    write_report(folder / "large.html", compare_paths(many, folder / "many.qrels", measures), "1.0")
    return [folder / "small.html", folder / "large.html"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_nothing_overlaps_or_reaches_out(reports: list[Path], browser: Any, number: int, media: str) -> None:
    # A4 less margins of 15 mm is 680 px wide.
    page = browser.new_page(viewport={"width": 1280 if media == "screen" else 680, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.append(request.url))
    page.emulate_media(media=media)
    page.goto(reports[number].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.evaluate(WIDE) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.title() == "Comparison of systems"
    assert [heading.inner_text() for heading in page.query_selector_all("h2")] == [
        *("Means", "Differences", "Plots", "Queries that changed most", "Conventions"),
        *("To make this report again", "Manifests"),
    ]
    # Nothing but the file itself is asked for, and no rule of the page is broken.
    assert said == [reports[number].as_uri()]
    page.close()


def test_text_of_plots_is_large_enough_to_read(reports: list[Path], browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(reports[0].as_uri())
    heights = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(one => parseFloat(getComputedStyle(one).fontSize)"
        " * one.ownerSVGElement.getBoundingClientRect().width / one.ownerSVGElement.viewBox.baseVal.width)"
    )
    assert len(heights) > 30
    assert min(heights) >= 11
    page.close()


def test_axe_finds_nothing_serious(reports: list[Path], browser: Any) -> None:
    # axe-core puts a script of its own into the page, which the page's own policy would forbid.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    page = context.new_page()
    page.goto(reports[0].as_uri())
    assert axe_violations(page) == []
    context.close()
