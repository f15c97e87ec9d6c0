"""The web page in headless Chromium, before a real server and real documents."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragkit import Corpus, TextRecord
from ragkit.hosting.library import FolderLibrary
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, Usage
from ragkit.serve.api.app import create_app
from ragkit.serve.guards.api_keys import make_key
from ragkit.serve_config import ServeConfig
from tests.browser.chromium import axe_violations, chromium, why_not
from tests.fakes import HashEmbedder
from tests.pdf_maker import make_pdf
from tests.serve.house import running, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.skipif(why_not() != "", reason=why_not())]

CRANE = "The crane lifts forty tonnes\nand turns in a minute."
PLAN = f"The harbour plan of 1931.\n{CRANE}\nIt was painted green."
HARM = "<img src=x onerror=alert(1)><script>alert(2)</script>"
LONG = "unbroken" * 40
DESKTOP, PHONE = {"width": 1280, "height": 850}, {"width": 360, "height": 740}


class Typist:
    """Says `reply` in pieces of four characters. closed: whether a stream was given up before its end."""

    name = "typist"
    context_tokens = 8192
    image_limits = None

    def __init__(self) -> None:
        self.reply, self.pause_s = "", 0.0
        self.asked: list[ChatRequest] = []
        self.closed = False

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return 1

    async def chat(self, request: ChatRequest) -> ChatReply:
        return ChatReply(self.reply, usage=Usage(5, 6))

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        self.asked.append(request)
        self.closed = True
        for start in range(0, len(self.reply), 4):
            yield ChatDelta(self.reply[start : start + 4])
            await asyncio.sleep(self.pause_s)
        self.closed = False
        yield ChatDelta(finish_reason="stop", usage=Usage(5, 6))

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        raise NotImplementedError


TYPIST = Typist()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    folder = tmp_path_factory.mktemp("browser")
    make_pdf(folder / "plan.pdf", ["An empty harbour.", PLAN])
    with Corpus.open(folder / "port", embedder=HashEmbedder(), engine=TYPIST) as corpus:
        corpus.add(folder / "plan.pdf")
        corpus.add(
            [
                TextRecord(f"{HARM}.txt", f"The duck swims. {HARM} It is 🦆 white.", attributes={"year": 1999}),
                TextRecord(f"{LONG}.txt", f"The eel is {LONG}.", attributes={"year": 2024}),
            ]
        )
        yield corpus


@pytest.fixture(scope="module")
def address(port: Corpus) -> Iterator[str]:
    with running(create_app(FolderLibrary([port]))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


class Visit:
    """A tab on the web page. complaints: what the browser's console calls an error."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        TYPIST.reply, TYPIST.pause_s = "", 0.0
        self.context = browser.new_context(**{"viewport": DESKTOP, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message) or dialog.dismiss())
        self.page.on("console", self._console)
        self.page.goto(address)
        self.page.wait_for_selector("#corpus option", state="attached")

    def _console(self, message: Any) -> None:
        # Of replies with an error status, which the tests ask for, the console tells too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def ask(self, question: str, reply: str, answers: int = 1) -> None:
        TYPIST.reply = reply
        self.page.fill("#question", question)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(f".turn:nth-of-type({answers}) .answer[aria-busy=false]", state="attached")

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).text_content())

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.id || document.activeElement.className"))

    def is_wider_than_the_window(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.context.close()
    assert visit.complaints == []


def ask_of_the_crane(visit: Visit) -> None:
    visit.ask("What does the crane lift?", "The crane lifts **forty** tonnes and turns in a minute [1].")


def screenshot(element: Any) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(int)


def check_boxes(marked: np.ndarray[Any, Any], bare: np.ndarray[Any, Any], port: Corpus) -> None:
    """What differs is where the cited words stand on the page, on both of their lines, and nowhere else."""
    assert marked.shape == bare.shape
    changed = np.abs(marked - bare).max(axis=2) > 24
    height, width = changed.shape
    page = port.store.page("plan.pdf", 2)
    start = page.text.index(CRANE)
    near = np.zeros_like(changed)
    for box in page.words.between(start, start + len(CRANE)):
        left, right = int(box.left * width), int(box.right * width) + 1
        top, bottom = int(box.top * height), int(box.bottom * height) + 1
        assert changed[top:bottom, left:right].mean() > 0.5
        near[max(0, top - 12) : bottom + 12, max(0, left - 12) : right + 12] = True
    assert changed.any()
    assert not (changed & ~near).any()


def test_a_citation_opens_the_page_with_a_box_over_the_cited_words(visit: Visit, port: Corpus):
    ask_of_the_crane(visit)
    assert visit.text(".answer").replace("\xa0", " ") == "The crane lifts forty tonnes and turns in a minute 1."
    assert visit.text(".answer strong") == "forty"
    assert visit.count(".citation") == 1
    visit.page.click("button.mark")
    image = visit.page.wait_for_selector("#viewer-page img")
    assert visit.text("#viewer-title") == "plan.pdf, page 2"
    assert visit.text("#viewer-quote") == CRANE
    # The picture alone, whole: the region that scrolls it would cut it.
    visit.page.set_viewport_size({"width": 1280, "height": 3000})
    marked = screenshot(image)
    image.evaluate("async (image) => { image.src = image.src.replace(/&spans=[^&]*/, ''); await image.decode(); }")
    check_boxes(marked, screenshot(image), port)


def test_a_link_in_a_tab_of_its_own_shows_the_boxes_too(visit: Visit, port: Corpus):
    ask_of_the_crane(visit)
    visit.page.click(".citation")
    visit.page.wait_for_selector("#viewer-page img")
    with visit.context.expect_page() as opened:
        visit.page.click("#viewer-link")
    page = opened.value
    page.set_viewport_size({"width": 1000, "height": 2000})
    page.wait_for_selector("figure img")
    figure = page.locator("figure")
    figure.locator("img").evaluate("(image) => image.decode()")
    marked = screenshot(figure)
    page.set_viewport_size({"width": 1000, "height": 300})
    page.reload()
    top = page.locator("#cited").bounding_box()["y"]
    assert 0 < top < 300
    page.set_viewport_size({"width": 1000, "height": 2000})
    page.evaluate("scrollTo(0, 0)")
    figure.locator("svg").evaluate("(svg) => svg.remove()")
    check_boxes(marked, screenshot(figure), port)
    assert axe_violations(page) == []


def test_the_picture_is_scrolled_to_the_words(browser: Any, address: str):
    visit = Visit(browser, address, viewport={"width": 1280, "height": 420})
    ask_of_the_crane(visit)
    visit.page.click(".citation")
    image = visit.page.wait_for_selector("#viewer-page img")
    share = 1 - 720 / 792
    box, region = image.bounding_box(), visit.page.locator("#viewer-page").bounding_box()
    words = box["y"] + share * box["height"]
    assert region["y"] < words < region["y"] + region["height"]
    visit.context.close()


def test_a_page_can_be_enlarged(browser: Any, address: str):
    visit = Visit(browser, address, viewport=PHONE)
    ask_of_the_crane(visit)
    visit.page.click(".citation")
    image = visit.page.wait_for_selector("#viewer-page img")
    width = image.bounding_box()["width"]
    visit.page.click("#viewer-near")
    assert image.bounding_box()["width"] > 1.9 * width
    assert not visit.is_wider_than_the_window()
    visit.page.click("#viewer-near")
    assert image.bounding_box()["width"] == width
    visit.context.close()


def test_the_answer_streams(visit: Visit):
    TYPIST.pause_s = 0.05
    TYPIST.reply = "The crane lifts forty tonnes and turns in a minute [1]. " * 3
    visit.page.fill("#question", "What does the crane lift?")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".answer[aria-busy=true] p")
    first = visit.text(".answer")
    assert 0 < len(first) < len(TYPIST.reply) / 2
    assert visit.text("#status") == "Answering."
    visit.page.wait_for_selector(".answer[aria-busy=false]")
    assert visit.text(".answer").startswith(first[:4])
    assert visit.text("#status") == "Answer complete. Sources: 1."


def test_stopping_ends_the_work_behind_the_answer(visit: Visit):
    TYPIST.pause_s = 0.05
    TYPIST.reply = "word " * 4000
    visit.page.fill("#question", "What does the crane lift?")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".answer p")
    visit.page.click("#stop")
    visit.page.wait_for_selector("text=Stopped.")
    wait_until(lambda: TYPIST.closed)
    assert visit.page.locator("#send").is_visible()
    ask_of_the_crane_again(visit)


def ask_of_the_crane_again(visit: Visit) -> None:
    TYPIST.pause_s = 0.0
    visit.ask("What does the crane lift?", "It lifts forty tonnes [1].", answers=2)
    assert visit.text(".turn:nth-of-type(2) .answer").startswith("It lifts")


def test_a_conversation_goes_on_and_begins_anew(visit: Visit):
    ask_of_the_crane(visit)
    visit.ask("And how fast does the crane turn?", "In a minute [1].", answers=2)
    history = [(m.role, m.content) for m in TYPIST.asked[-1].messages]
    assert ("user", "What does the crane lift?") in history
    assert ("assistant", "The crane lifts **forty** tonnes and turns in a minute.") in history
    visit.page.click("#restart")
    assert visit.count(".turn") == 0
    visit.ask("What of the crane?", "It is green [1].")
    assert not any(m.content == "What does the crane lift?" for m in TYPIST.asked[-1].messages)


def test_with_the_keyboard_alone(visit: Visit):
    page = visit.page
    assert visit.focused() == "question"
    page.keyboard.type("What does the crane lift?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("And the duck?")
    TYPIST.reply = "The crane lifts forty tonnes [1]. The duck swims [2]."
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer[aria-busy=false]")
    assert visit.text(".turn h2") == "What does the crane lift?\nAnd the duck?"
    assert visit.focused() == "question"
    # Back from the question: the notes, the cards, the marks.
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    assert visit.focused() == "mark"
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer-page[aria-busy=false]")
    places = [visit.text("#viewer-place")]
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#viewer-page[aria-busy=false]")
    places.append(visit.text("#viewer-place"))
    assert sorted(places) == ["1 of 2", "2 of 2"]
    for _ in range(8):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert visit.focused() == "mark"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_selector("#viewer[open]")


@pytest.mark.parametrize("where", ["the duck", "the eel"])
def test_what_documents_say_stays_text_and_keeps_to_the_window(browser: Any, address: str, where: str):
    visit = Visit(browser, address, viewport=PHONE)
    page = visit.page
    assert not visit.is_wider_than_the_window()
    asked = f"What of {where}? {HARM} {LONG if where == 'the eel' else ''}"
    visit.ask(asked, f"{HARM} `{HARM}` **{HARM}**\n\n- {LONG} [1]\n\n```\n{LONG}\n```")
    assert not visit.is_wider_than_the_window()
    assert HARM in visit.text(".answer p")
    assert visit.text(".answer code >> nth=0") == HARM
    assert visit.count(".answer img, .answer script") == 0
    page.click(".citation")
    page.wait_for_selector("#viewer-page pre")
    assert not visit.is_wider_than_the_window()
    assert not page.evaluate("(d => d.scrollWidth > d.clientWidth)(document.querySelector('#viewer'))")
    words = "The duck swims." if where == "the duck" else f"The eel is {LONG}."
    assert visit.text("#viewer-page mark").startswith(words[:8])
    assert visit.count("#viewer-page script, #viewer-page img") == 0
    page.keyboard.press("Escape")
    page.click("#filter-toggle")
    page.click("summary")
    assert not visit.is_wider_than_the_window()
    visit.context.close()
    assert visit.complaints == []


def test_a_mark_behind_characters_of_two_halves_opens_its_own_citation(visit: Visit):
    visit.ask("What of the duck and the crane?", "🦆🦆🦆 The duck swims [1]. The crane lifts forty tonnes [2].")
    titles = visit.page.locator("button.mark").evaluate_all("(marks) => marks.map((mark) => mark.title)")
    assert len(titles) == 2
    assert len(set(titles)) == 2


def test_marks_that_name_no_source_are_not_shown_as_citations(visit: Visit):
    visit.ask("What does the crane lift?", "The crane lifts forty tonnes [1] [42].")
    assert visit.count("button.mark") == 1
    assert "42" not in visit.text(".answer")


def test_filters_and_what_is_wrong_with_them_in_words(visit: Visit):
    page = visit.page
    page.click("#filter-toggle")
    assert visit.focused() == "filter"
    page.fill("#filter", "year >= 2000")
    visit.ask("What of the eel?", "The eel is long [1].")
    assert "unbroken" in page.locator(".citation").get_attribute("title")
    page.fill("#filter", "yaer >= 2000")
    visit.ask("What of the eel?", "The eel is long [1].", answers=2)
    problem = visit.text(".turn .problem")
    assert "did you mean 'year'?" in problem
    assert "Request req_" in problem
    assert page.input_value("#question") == "What of the eel?"


def test_light_and_dark(browser: Any, address: str):
    for scheme, other in (("light", "dark"), ("dark", "light")):
        visit = Visit(browser, address, color_scheme=scheme)
        ground = "getComputedStyle(document.body).backgroundColor"
        before = visit.page.evaluate(ground)
        assert (before == "rgb(21, 24, 27)") is (scheme == "dark")
        visit.page.click("#theme")
        after = visit.page.evaluate(ground)
        assert (after == "rgb(21, 24, 27)") is (other == "dark")
        assert visit.page.get_attribute("#theme", "aria-pressed") == str(other == "dark").lower()
        visit.page.reload()
        assert visit.page.evaluate(ground) == after
        visit.context.close()
        assert visit.complaints == []


@pytest.mark.parametrize(("scheme", "viewport"), [("light", DESKTOP), ("dark", PHONE)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, address: str, scheme: str, viewport: dict[str, int]):
    visit = Visit(browser, address, viewport=viewport, color_scheme=scheme)
    assert axe_violations(visit.page) == []
    reply = "# Crane\n\n> The crane lifts `forty` tonnes [1].\n\n```\ncode\n```\n\n1. It turns [1]."
    visit.ask("What does the crane lift?", reply)
    visit.page.click("summary")
    visit.page.click("#filter-toggle")
    assert axe_violations(visit.page) == []
    visit.page.click(".citation")
    visit.page.wait_for_selector("#viewer-page img")
    assert axe_violations(visit.page) == []
    visit.page.keyboard.press("Escape")
    visit.page.fill("#filter", "yaer > 1")
    visit.ask("What?", "", answers=2)
    assert axe_violations(visit.page) == []
    visit.context.close()


def test_an_api_key_is_asked_for_and_kept_in_the_tab(browser: Any, port: Corpus, tmp_path: Path):
    key = make_key("reader")
    (tmp_path / "keys.toml").write_text(key.entry, "utf-8")
    settings = ServeConfig(api_keys_file=str(tmp_path / "keys.toml"))
    with running(create_app(FolderLibrary([port]), settings=settings)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(address)
        page.wait_for_selector("#key-form:not([hidden])")
        assert axe_violations(page) == []
        for given in ("wrong", key.key):
            page.fill("#key", given)
            page.keyboard.press("Enter")
            if given == "wrong":
                page.wait_for_selector("text=does not know the key")
        page.wait_for_selector("#corpus option", state="attached")
        assert page.locator("#key-form").is_hidden()
        TYPIST.reply = "The crane lifts forty tonnes [1]."
        page.fill("#question", "What does the crane lift?")
        page.keyboard.press("Enter")
        page.click("button.mark")
        page.wait_for_selector("#viewer-page img")
        assert page.evaluate("Object.keys(localStorage).length") == 0
        page.reload()
        page.wait_for_selector("#corpus option", state="attached")
        context.close()


def test_a_server_that_is_gone_is_told_in_words(browser: Any, port: Corpus):
    with running(create_app(FolderLibrary([port]))) as address:
        visit = Visit(browser, address)
    visit.page.fill("#question", "What does the crane lift?")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".turn .problem")
    assert "could not be reached" in visit.text(".turn .problem")
    assert visit.page.input_value("#question") == "What does the crane lift?"
    visit.context.close()
