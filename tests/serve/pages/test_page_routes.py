"""Citations one can look at: over real corpora and a real server, with the stock client."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from ragkit import Corpus, TextRecord
from ragkit.hosting.library import FolderLibrary
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, Usage
from ragkit.serve.api.app import create_app
from ragkit.serve.guards.api_keys import make_key
from ragkit.serve.pages.draw_boxes import pixels_of
from ragkit.serve_config import ServeConfig
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.pdf_maker import make_pdf
from tests.serve.house import running
from tests.serve.picture_house import SeeingEngine

CRANE = "The crane lifts forty tonnes\nand turns in a minute."
PLAN = f"The harbour plan of 1931.\n{CRANE}\nIt was painted green."
# Text that would do harm as markup, and ids that lose something in a path.
HARM = "<script>alert(1)</script><img src=x onerror=alert(1)> & \"quoted\" 'words'"
IDS = (
    "a/b #1?.txt",
    "ä ö ü/日本.md",
    "100%.txt",
    "100%25.txt",
    "../up.txt",
    "/abs//olute",
    "a&b=c;d+e",
    "\"><script>alert('x')</script>",
    "back\\slash\nline",
    ".",
    "🦆" * 40,
)
HTML = {"accept": "text/html,application/xhtml+xml,image/webp,*/*;q=0.8"}


class QuotingEngine:
    """Says `replies` in turn, three characters at a time, whatever it is asked."""

    name = "quoting"
    context_tokens = 8192
    image_limits = None

    def __init__(self) -> None:
        self.reply = ""

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return 1

    async def chat(self, request: ChatRequest) -> ChatReply:
        return ChatReply(self.reply, usage=Usage(5, 6))

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        for start in range(0, len(self.reply), 3):
            yield ChatDelta(self.reply[start : start + 3])
        yield ChatDelta(finish_reason="stop", usage=Usage(5, 6))

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        raise NotImplementedError


ENGINE = QuotingEngine()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    folder = tmp_path_factory.mktemp("secret-place")
    make_pdf(folder / "plan.pdf", ["An empty harbour.", PLAN])
    make_pdf(folder / "gone.pdf", ["The lighthouse was moved."])
    with Corpus.open(folder / "port corpus", embedder=HashEmbedder(), engine=ENGINE) as corpus:
        corpus.add([folder / "plan.pdf", folder / "gone.pdf"])
        corpus.add([TextRecord(id_, f"The duck number {i} swims. {HARM}") for i, id_ in enumerate(IDS)])
        corpus.add(TextRecord("long.txt", "Word. " * 50_000 + "The whale sings. " + "Word. " * 50_000))
        corpus.add(TextRecord("changing.txt", "The sluice opens at noon."))
        (folder / "gone.pdf").unlink()
        yield corpus


@pytest.fixture(scope="module")
def address(port: Corpus) -> Iterator[str]:
    with running(create_app(FolderLibrary([port]))) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{address}/v1/ragkit/pages/port%20corpus/", timeout=30) as client:
        yield client


def ask(address: str, question: str, reply: str, **extra: Any) -> Any:
    ENGINE.reply = reply
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as stock:
        messages: Any = [{"role": "user", "content": question}]
        return stock.chat.completions.create(model="port corpus", messages=messages, **extra)


def links(reply: Any) -> list[str]:
    return [item.url_citation.url for item in reply.choices[0].message.annotations]


def picture(reply: httpx.Response) -> np.ndarray[Any, Any]:
    assert reply.status_code == 200, reply.text
    return np.asarray(Image.open(io.BytesIO(reply.content)).convert("RGB")).astype(int)


def test_a_citation_opens_the_page_with_the_cited_words_in_boxes(address: str, port: Corpus):
    reply = ask(address, "What does the crane lift?", "The crane lifts forty tonnes and turns in a minute [1].")
    (link,) = links(reply)
    assert link.startswith(f"{address}/v1/ragkit/pages/port%20corpus/2?document=plan.pdf&spans=")
    drawn = httpx.get(link)
    assert (drawn.headers["content-type"], drawn.headers["cache-control"]) == ("image/png", "private, max-age=300")
    bare = picture(httpx.get(f"{address}/v1/ragkit/pages/port%20corpus/2?document=plan.pdf"))
    changed = (picture(drawn) != bare).any(axis=2)
    # Two lines, so two boxes, around the words and nowhere else.
    page = port.store.page("plan.pdf", 2)
    start = page.text.index("The crane")
    words = page.words.between(start, page.text.index("minute.") + len("minute."))
    allowed = np.zeros_like(changed)
    height, width = changed.shape
    for word in words:
        left, top, right, bottom = pixels_of(word, (width, height))
        assert changed[top:bottom, left:right].mean() > 0.5
        allowed[max(0, top - 12) : bottom + 12, max(0, left - 12) : right + 12] = True
    assert not (changed & ~allowed).any()
    rows = np.flatnonzero(changed.any(axis=1))
    assert 2 * 12 < len(rows) < height / 8
    view = httpx.get(link, headers={"accept": "application/json"}).json()
    assert len(view["boxes"]) == 2
    assert view["text"][slice(*view["spans"][0])] == CRANE


@pytest.mark.parametrize("number", range(len(IDS)))
def test_any_document_opens_and_shows_the_words_as_text(address: str, number: int):
    reply = ask(address, f"duck number {number} swims", f"The duck number {number} swims [1].")
    (link,) = links(reply)
    assert parse_qs(urlsplit(link).query)["document"] == [IDS[number]]
    for headers in (HTML, {"accept": "*/*"}):
        opened = httpx.get(link, headers=headers)
        assert opened.headers["content-type"] == "text/html; charset=utf-8"
        page = Parsed(opened.text)
        assert page.marked == f"The duck number {number} swims."
        assert page.shown == f"The duck number {number} swims. {HARM}"
        assert not page.tags & {"script", "iframe", "object", "b"}
        assert page.title == f"{IDS[number]}, page 1"
        assert "script" not in opened.headers["content-security-policy"]
        assert opened.headers["content-security-policy"].startswith("default-src 'none'")


class Parsed(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.marked = self.shown = self.title = ""
        self.sources: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open.append(tag)
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.marked += data if "mark" in self._open else ""
        # The first line break of a <pre> is none.
        self.shown += (data if self.shown else data.removeprefix("\n")) if "pre" in self._open else ""
        self.title += data if "title" in self._open else ""


def test_a_page_with_a_picture_is_html_for_people(address: str):
    reply = ask(address, "What does the crane lift?", "The crane lifts forty tonnes [1].")
    (link,) = links(reply)
    assert link.endswith("#cited")
    opened = httpx.get(link, headers=HTML)
    assert opened.headers["vary"] == "accept"
    page = Parsed(opened.text)
    assert {"img", "svg", "rect", "details", "mark"} <= page.tags
    assert opened.text.count('id="cited"') == 1
    assert '<blockquote dir="auto">The crane lifts forty tonnes and turns in a minute.</blockquote>' in opened.text
    base = httpx.URL(link)
    for source in page.sources:
        answered = httpx.get(base.join(source))
        assert answered.status_code == 200, source


def test_the_picture_of_an_img_element_is_a_picture(client: httpx.Client):
    reply = client.get("2?document=plan.pdf", headers={"accept": "image/avif,image/webp,image/*,*/*;q=0.8"})
    assert reply.headers["content-type"] == "image/png"
    text = client.get("1?document=.", headers={"accept": "image/avif,image/webp,image/*,*/*;q=0.8"})
    assert (text.status_code, text.json()["error"]["code"]) == (404, "page_without_picture")


def test_thumbnails_are_small_and_asked_for_once(client: httpx.Client):
    first = client.get("2?document=plan.pdf&spans=0-10&width=160")
    assert (first.headers["content-type"], picture(first).shape[1]) == ("image/webp", 160)
    assert len(first.content) < 8000
    again = client.get(
        "2?document=plan.pdf&spans=0-10&width=160", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.get("2?document=plan.pdf&width=160").headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("2", 400, "document"),
        ("2?document=", 400, "document"),
        ("0?document=plan.pdf", 404, "page"),
        ("-1?document=plan.pdf", 404, "page"),
        ("٢?document=plan.pdf", 404, "page"),
        ("9999999999999999999999?document=plan.pdf", 404, "page"),
        ("999999999?document=plan.pdf", 404, "document"),
        ("2.pdf?document=plan.pdf", 404, "page"),
        ("3?document=plan.pdf", 404, "document"),
        ("1?document=none.pdf", 404, "document"),
        ("1?document=%ff%00", 404, "document"),
        ("2?document=plan.pdf&spans=1", 400, "spans"),
        ("2?document=plan.pdf&spans=5-5", 400, "spans"),
        ("2?document=plan.pdf&spans=9-5", 400, "spans"),
        ("2?document=plan.pdf&spans=-1-5", 400, "spans"),
        ("2?document=plan.pdf&spans=1-9999999999", 400, "spans"),
        ("2?document=plan.pdf&spans=" + "1-2," * 64 + "1-2", 400, "spans"),
        ("2?document=plan.pdf&width=15", 400, "width"),
        ("2?document=plan.pdf&width=4001", 400, "width"),
        ("2?document=plan.pdf&width=1e3", 400, "width"),
        ("2?document=plan.pdf&width=" + "9" * 5000, 400, "width"),
        ("2?document=plan.pdf&format=pdf", 400, "format"),
    ],
)
def test_bad_requests_are_told_in_openais_shape(client: httpx.Client, path: str, status: int, param: str):
    reply = client.get(path)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    assert "secret-place" not in reply.text


def test_a_page_that_is_not_there_is_a_page_in_a_browser(client: httpx.Client):
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    reply = client.get("999?document=<b>lake", headers=browser)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "has no page 999 of a document &#x27;&lt;b&gt;lake&#x27;" in reply.text
    assert "<b>" not in reply.text
    assert client.get("0", headers=browser).headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("999?document=x&format=html").json()["error"]["code"] == "page_not_found"
    assert client.get("999?document=x&format=json", headers=browser).json()["error"]["code"] == "page_not_found"


def test_an_unknown_corpus_is_404(address: str):
    reply = httpx.get(f"{address}/v1/ragkit/pages/nope/1?document=plan.pdf")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def test_spans_behind_the_text_mark_nothing(client: httpx.Client):
    view = client.get("2?document=plan.pdf&spans=4-9,900000-900001&format=json").json()
    assert view["spans"] == [[4, 9]]
    assert client.get("2?document=plan.pdf&spans=4-9,2-6,9-12&format=json").json()["spans"] == [[2, 12]]


def test_a_page_that_cannot_be_drawn_is_a_clean_error_and_still_shows_its_text(client: httpx.Client):
    reply = client.get("1?document=gone.pdf")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "page_not_drawn")
    assert "secret-place" not in reply.text
    shown = client.get("1?document=gone.pdf&spans=0-14", headers=HTML)
    assert Parsed(shown.text).marked == "The lighthouse"


def test_a_page_that_changed_since_is_shown_without_marks(address: str, port: Corpus):
    reply = ask(address, "When does the sluice open?", "The sluice opens at noon [1].")
    (link,) = links(reply)
    assert Parsed(httpx.get(link).text).marked == "The sluice opens at noon."
    port.add(TextRecord("changing.txt", "Since May the sluice opens at one."))
    opened = httpx.get(link, headers=HTML)
    assert Parsed(opened.text).marked == ""
    assert "changed since it was cited" in opened.text
    assert httpx.get(link, headers={"accept": "application/json"}).json()["changed"] is True


def test_a_long_text_is_shown_around_the_marked_words(address: str):
    reply = ask(address, "whale sings", "The whale sings [1].")
    (link,) = links(reply)
    opened = httpx.get(link, headers=HTML)
    assert Parsed(opened.text).marked == "The whale sings."
    assert len(opened.text) < 210_000
    view = httpx.get(link, headers={"accept": "application/json"}).json()
    start, end = (place - view["text_start"] for place in view["spans"][0])
    assert view["text"][start:end] == "The whale sings."
    assert view["text_length"] == 600_017


def sse(address: str, question: str, reply: str) -> list[dict[str, Any]]:
    """The events of a streamed answer, read off the wire."""
    ENGINE.reply = reply
    body = {"model": "port corpus", "messages": [{"role": "user", "content": question}], "stream": True}
    events = []
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=30) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                events.append(json.loads(line.removeprefix("data: ")))
    return events


def test_open_webui_finds_sources_in_a_stream(address: str):
    """It reads `delta.annotations` of each chunk: the nested form, of type url_citation (version 0.12.4)."""
    content, sources = "", []
    for event in sse(address, "What does the crane lift?", "The crane lifts forty tonnes [1]."):
        delta = event["choices"][0]["delta"]
        content += delta.get("content") or ""
        for annotation in delta.get("annotations") or []:
            if annotation.get("type") == "url_citation" and "url_citation" in annotation:
                citation = annotation["url_citation"]
                sources.append((citation["title"], citation["url"]))
    assert content == "The crane lifts forty tonnes [1]."
    ((title, url),) = sources
    assert title == "plan.pdf, page 2"
    assert Parsed(httpx.get(url, headers=HTML).text).marked == CRANE


@pytest.mark.parametrize("stream", [False, True])
def test_marks_of_no_source_never_reach_the_reader(address: str, stream: bool):
    written = "The crane lifts forty tonnes [1] [99]. It turns [0][100, 101] in a minute 【77】 [source 88]."
    if stream:
        events = sse(address, "What does the crane lift?", written)
        content = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
        record, annotations = events[-1]["ragkit"], events[-1]["choices"][0]["delta"]["annotations"]
    else:
        whole = json.loads(ask(address, "What does the crane lift?", written).model_dump_json())
        message = whole["choices"][0]["message"]
        content, record, annotations = message["content"], whole["ragkit"], message["annotations"]
    assert set(re.findall(r"\d+", re.sub(r"[^\[\]\d]", "", content))) == {"1"}
    assert "[" not in content.replace("[1]", "")
    assert {citation["marker"] for citation in record["citations"]} == {1}
    assert len(annotations) == len(record["citations"])
    assert record["unknown_marks"] == [99, 0, 100, 101, 77, 88]


def test_no_reply_tells_a_path_of_the_server(address: str):
    reply = ask(address, "What does the crane lift?", "The crane lifts forty tonnes [1].")
    assert "secret-place" not in reply.model_dump_json()


def test_the_response_api_gives_the_same_links(address: str):
    ENGINE.reply = "The crane lifts forty tonnes [1]."
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as stock:
        whole = stock.responses.create(model="port corpus", input="What does the crane lift?")
    (message,) = [item for item in whole.output if item.type == "message"]
    (part,) = message.content
    assert part.type == "output_text"
    (url,) = [annotation.url for annotation in part.annotations if annotation.type == "url_citation"]
    assert Parsed(httpx.get(url, headers=HTML).text).marked == CRANE


def test_pictures_that_were_found_are_told_by_links(tmp_path: Path):
    make_pdf(tmp_path / "left.pdf", ["Ink on the left."])
    engine = SeeingEngine(["It stands on the left [1]."])
    settings = {"pages": {"embed": "image", "keep_pages": True, "dpi": 72}}
    with Corpus.open(
        tmp_path / "secret-place", config=settings, page_embedder=ThumbnailEmbedder(), engine=engine
    ) as corpus:
        corpus.add(tmp_path / "left.pdf")
        with running(create_app(FolderLibrary([corpus]))) as address:
            body = {"model": "secret-place", "messages": [{"role": "user", "content": "left"}]}
            reply = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=30).json()
            (hit,) = reply["ragkit"]["hits"]
            assert hit["image"] == f"{address}/v1/ragkit/pages/secret-place/1?document=left.pdf"
            assert httpx.get(hit["image"]).headers["content-type"] == "image/png"
            assert str(tmp_path) not in json.dumps(reply)


def test_head_tells_of_a_page_without_sending_it(client: httpx.Client):
    reply = client.head("2?document=plan.pdf")
    assert (reply.status_code, reply.headers["content-type"], reply.content) == (200, "image/png", b"")


def test_many_readers_at_once_get_the_same_picture(client: httpx.Client):
    with ThreadPoolExecutor(12) as readers:
        paths = [f"{page}?document=plan.pdf&spans=0-{5 + page}" for page in (1, 2)] * 12
        etags = {reply.headers["etag"] for reply in readers.map(client.get, paths)}
    assert len(etags) == 2


def test_links_begin_with_the_public_address(port: Corpus):
    settings = ServeConfig(public_url="https://ask.example.org/rag/")
    with running(create_app(FolderLibrary([port]), settings=settings)) as address:
        (link,) = links(ask(address, "What does the crane lift?", "The crane lifts forty tonnes [1]."))
    assert link.startswith("https://ask.example.org/rag/v1/ragkit/pages/port%20corpus/2?")


def test_with_api_keys_a_link_opens_its_own_page_without_one(port: Corpus, tmp_path: Path):
    key = make_key("reader")
    (tmp_path / "keys.toml").write_text(key.entry, "utf-8")
    settings = ServeConfig(api_keys_file=str(tmp_path / "keys.toml"))
    headers = {"authorization": f"Bearer {key.key}"}
    with running(create_app(FolderLibrary([port]), settings=settings)) as address:
        ENGINE.reply = "The crane lifts forty tonnes [1]."
        body = {"model": "port corpus", "messages": [{"role": "user", "content": "What does the crane lift?"}]}
        whole = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=30).json()
        link = whole["choices"][0]["message"]["annotations"][0]["url_citation"]["url"]
        assert httpx.get(link).headers["content-type"] == "image/png"
        assert httpx.get(link.replace("#cited", "&width=100")).headers["content-type"] == "image/webp"
        # The HTML's own picture is signed too.
        shown = Parsed(httpx.get(link, headers=HTML).text)
        (image,) = [source for source in shown.sources if "format=image" in source]
        assert httpx.get(httpx.URL(link).join(image)).status_code == 200
        for other in (
            link.replace("/2?", "/1?"),
            link.replace("plan.pdf", "gone.pdf"),
            link.replace("plan.pdf", "plan.pdf&document=gone.pdf"),
            re.sub("signature=..", "signature=AA", link),
            re.sub("&signature=[^#]*", "", link),
        ):
            assert httpx.get(other).status_code in (401, 403), other
        bare = f"{address}/v1/ragkit/pages/port%20corpus/1?document=plan.pdf"
        assert (httpx.get(bare).status_code, httpx.get(bare, headers=headers).status_code) == (401, 200)


def test_links_outlive_the_server_that_keeps_its_secret(port: Corpus, tmp_path: Path):
    key = make_key("reader")
    (tmp_path / "keys.toml").write_text(key.entry, "utf-8")
    path = "/v1/ragkit/pages/port%20corpus/2"
    statuses = []
    for secret in ("", str(tmp_path / "link.secret")):
        settings = ServeConfig(api_keys_file=str(tmp_path / "keys.toml"), link_secret_file=secret)
        first, second = (create_app(FolderLibrary([port]), settings=settings) for _ in range(2))
        with running(first) as address:
            ENGINE.reply = "The crane lifts forty tonnes [1]."
            body = {"model": "port corpus", "messages": [{"role": "user", "content": "What does the crane lift?"}]}
            headers = {"authorization": f"Bearer {key.key}"}
            reply = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=30).json()
            link = httpx.URL(reply["choices"][0]["message"]["annotations"][0]["url_citation"]["url"])
        with running(second) as address:
            statuses.append(httpx.get(f"{address}{path}?{link.query.decode()}").status_code)
    assert statuses == [401, 200]
