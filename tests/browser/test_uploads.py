"""Adding documents on the web page: a new collection, progress, failures, and a question about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.config import Config
from ragkit.hosting.drawing_pool import DrawingPool
from ragkit.hosting.library import FolderLibrary
from ragkit.hosting.served_engine import ServedEngine
from ragkit.hosting.served_stores import served_stores
from ragkit.serve.api.app import create_app
from tests.browser.chromium import axe_violations, chromium, why_not
from tests.pdf_maker import make_pdf
from tests.serve.house import running

pytestmark = [pytest.mark.browser, pytest.mark.skipif(why_not() != "", reason=why_not())]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = Config.model_validate({"embedder": {"name": "none"}})
    folder = tmp_path_factory.mktemp("store")
    with (
        DrawingPool.of(config.serve) as pool,
        served_stores(folder, ServedEngine(config), pool.draw) as kept,
    ):
        library = FolderLibrary([], kept.corpora)
        with running(create_app(library, settings=config.serve, stores=kept.stores)) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def test_documents_are_uploaded_indexed_and_asked(browser: Any, address: str, tmp_path: Path):
    plan = make_pdf(tmp_path / "plän <b>.pdf", ["Empty.", "The crane lifts forty tonnes and turns in a minute."])
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.4\nnothing behind it")
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    page.set_default_timeout(30_000)
    page.goto(address)
    # A server without documents says so.
    page.wait_for_selector("#corpus option", state="attached")
    page.fill("#question", "What does the crane lift?")
    page.keyboard.press("Enter")
    assert "no documents to ask yet" in page.locator("#problem").inner_text()

    page.click("#documents-open")
    assert axe_violations(page) == []
    page.click("#upload button")
    assert page.locator("#upload-problem").inner_text() == "Choose at least one file."
    page.set_input_files("#files", [plan, broken])
    page.click("#upload button")
    assert page.locator("#upload-problem").inner_text() == "Give the new collection a name."
    assert page.locator("#files").evaluate("(input) => input.files.length") == 2
    page.fill("#store-name", "Harbour <i>plans</i>")
    page.click("#upload button")
    page.wait_for_selector("#uploads li.completed")
    page.wait_for_selector("#uploads li.failed")
    assert page.locator("#uploads li.completed").inner_text() == "plän <b>.pdf: Ready"
    failed = page.locator("#uploads li.failed").inner_text()
    assert failed.startswith("broken.pdf: ")
    assert str(tmp_path.parents[1]) not in failed
    assert axe_violations(page) == []
    assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")

    page.keyboard.press("Escape")
    assert page.locator("#corpus option:checked").inner_text() == "Harbour <i>plans</i>"
    page.fill("#question", "What does the crane lift?")
    page.keyboard.press("Enter")
    page.click("button.mark")
    page.wait_for_selector("#viewer-page img")
    assert page.locator("#viewer-title").inner_text() == "plän <b>.pdf, page 2"
    page.keyboard.press("Escape")
    for width in (320, 360):
        page.set_viewport_size({"width": width, "height": 740})
        assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        # One line high.
        assert page.locator("header").bounding_box()["height"] < 60
    assert axe_violations(page) == []
    page.context.close()


def test_who_uploads_twice_at_once_uploads_once(browser: Any, address: str, tmp_path: Path):
    (tmp_path / "twice.txt").write_text("The crane was greased.")
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.goto(address)
    page.wait_for_selector("#corpus option", state="attached")
    page.click("#documents-open")
    submits: list[Any] = [
        lambda: page.evaluate("for (const _ of [1, 2]) document.getElementById('upload').requestSubmit()"),
        lambda: page.dblclick("#upload button"),
    ]
    for number, submit in enumerate(submits, 1):
        page.select_option("#store", "")
        page.fill("#store-name", f"Twice {number}")
        page.set_input_files("#files", tmp_path / "twice.txt")
        submit()
        page.locator("#uploads li.completed").nth(number - 1).wait_for()
        assert page.locator("#uploads li").count() == number
        assert not page.locator("#upload-problem").is_visible()
        stores = httpx.get(f"{address}/v1/vector_stores?limit=100").json()["data"]
        assert [store["file_counts"]["total"] for store in stores if store["name"] == f"Twice {number}"] == [1]
    page.close()


def test_the_bar_follows_the_bytes(browser: Any, address: str, tmp_path: Path):
    """The server takes its time to answer, so that what the bar says can be read."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(address)
    page.wait_for_selector("#corpus option", state="attached")
    page.click("#documents-open")
    page.select_option("#store", "")
    page.fill("#store-name", "Notes")
    (tmp_path / "notes.txt").write_text("The pump cost 40 crowns. " * 16_000, "utf-8")
    session = context.new_cdp_session(page)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    session.send("Network.emulateNetworkConditions", limits)
    page.set_input_files("#files", tmp_path / "notes.txt")
    page.click("#upload button")
    page.wait_for_selector("#uploads progress")
    seen: set[float] = set()
    while page.locator("#uploads li.completed").count() == 0 and page.locator("#uploads li.failed").count() == 0:
        bar = page.locator("#uploads progress")
        if bar.count() and "Uploading" in page.locator("#uploads li").inner_text():
            seen.add(round(float(bar.evaluate("(bar) => bar.value")), 2))
        page.wait_for_timeout(50)
    assert page.locator("#uploads li").inner_text() == "notes.txt: Ready"
    assert len(seen) > 2
    assert all(0 <= value <= 1 for value in seen)
    context.close()


def test_collections_of_one_name_are_told_apart(browser: Any, address: str):
    ids = [
        httpx.post(f"{address}/v1/vector_stores", json={"name": name}).json()["id"]
        for name in ("Two", "Two", "One")
    ]
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector(f"#corpus option[value={ids[2]}]", state="attached")
    for list_ in ("#corpus", "#store"):
        shown = [page.locator(f"{list_} option[value={id_}]").inner_text() for id_ in ids]
        assert shown == [f"Two ({ids[0]})", f"Two ({ids[1]})", "One"]


def test_the_line_of_a_file_goes_on_while_it_is_embedded(browser: Any, address: str, tmp_path: Path):
    told = {"stage": "embedding", "pages_done": 75, "pages": 75, "passages_done": 32, "passages": 200}
    state: dict[str, Any] = {"id": "file-1", "status": "in_progress", "ragkit": told}
    note = tmp_path / "note.txt"
    note.write_text("The crane was greased.")
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.route("**/v1/vector_stores/*/files**", lambda route: route.fulfill(json=state))
    page.goto(address)
    page.click("#documents-open")
    page.set_input_files("#files", [note])
    page.select_option("#store", value="")
    page.fill("#store-name", "Embedded")
    page.click("#upload button")
    line = page.locator("#uploads li").first
    for stage, words in (
        ("embedding", "Embedding, passage 33 of 200"),
        ("reading", "Reading, page 75 of 75"),
        ("writing", "Writing"),
        ("waiting", "Waiting"),
    ):
        told["stage"] = stage
        line.filter(has_text=f"note.txt: {words}").wait_for()
    state["status"] = "completed"
    line.filter(has_text="note.txt: Ready").wait_for()
    page.close()
