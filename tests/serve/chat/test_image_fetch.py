from __future__ import annotations

import asyncio
import base64
import io
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from PIL import Image

from ragkit.serve.api.app import create_app
from ragkit.serve.chat import image_fetch
from ragkit.serve.chat.image_fetch import ImageFetcher, ImageFetchError, is_public
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary, running
from tests.serve.picture_house import SeeingEngine


def png() -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (4, 2), (200, 0, 0)).save(held, "PNG")
    return held.getvalue()


class _Images(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append((self.headers["host"], self.path))
        headers = {"content-type": "image/png"}
        status, body = 200, png()
        if self.path == "/html":
            headers = {"content-type": "text/html"}
        elif self.path == "/missing":
            status = 404
        elif self.path.startswith("/to/"):
            status, headers = 302, {"location": self.path.removeprefix("/to/")}
        elif self.path == "/large":
            body = b"x" * 2000
        elif self.path == "/packed":
            headers["content-encoding"] = "gzip"
        elif self.path == "/slow":
            threading.Event().wait(1.0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Images) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


async def _here(host: str, port: int) -> Sequence[str]:
    if host == "missing.example":
        raise socket.gaierror(-2, "Name or service not known")
    return ["127.0.0.1"]


def fetch(port: int, url: str) -> str:
    hosts = [f"img.example:{port}", "usual.example", f"missing.example:{port}"]
    fetcher = ImageFetcher(hosts, _here, lambda address: address == "127.0.0.1")
    return asyncio.run(fetcher.data_uri(url.format(port=port)))


@pytest.mark.parametrize("path", ["/image?x=1", "/to//image", "/to/http://img.example:{port}/image"])
def test_an_image_of_an_allowed_host(port: int, path: str) -> None:
    found = fetch(port, "http://img.example:{port}" + path)
    assert found == f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    assert _Images.asked[-1][0] == f"img.example:{port}"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://other.example:{port}/", "'other.example' are not fetched"),
        ("http://img.example/", "'img.example' are not fetched"),
        ("http://usual.example:{port}/", "'usual.example' are not fetched"),
        ("http://127.0.0.1:{port}/", "'127.0.0.1' are not fetched"),
        ("http://img.example:{port}@other.example/", "without a user's name"),
        ("http://user@img.example:{port}/", "without a user's name"),
        ("http://img.example:99999/", "malformed"),
        ("http://[::1/", "malformed"),
        ("http://img.example:{port}/to/http://[x", "malformed"),
        ("ftp://img.example:{port}/", "by http and https alone"),
        ("http://missing.example:{port}/", "is not found"),
        ("http://img.example:{port}/html", "does not send"),
        ("http://img.example:{port}/missing", "status 404"),
        ("http://img.example:{port}/packed", "compressed once more"),
        ("http://img.example:{port}/to/http://usual.example/x", "moved to another host"),
        ("http://img.example:{port}/to/http://127.0.0.1:{port}/x", "'127.0.0.1' are not fetched"),
        ("http://img.example:{port}/to/file:///etc/passwd", "by http and https alone"),
        ("http://img.example:{port}/to//to//to//to//to//image", "moved too often"),
        ("https://img.example:{port}/image", "cannot be fetched"),
    ],
)
def test_what_is_not_fetched(port: int, url: str, message: str) -> None:
    with pytest.raises(ImageFetchError, match=message):
        fetch(port, url)


def test_what_is_too_large_or_too_late(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_fetch, "_MOST_BYTES", 1999)
    with pytest.raises(ImageFetchError, match="has more than"):
        fetch(port, "http://img.example:{port}/large")
    monkeypatch.setattr(image_fetch, "_SECONDS", 0.2)
    with pytest.raises(ImageFetchError, match=r"within 0.2 s|cannot be fetched"):
        fetch(port, "http://img.example:{port}/slow")


def test_the_address_that_is_checked_is_the_one_that_is_asked(port: int) -> None:
    """A name that has a public address and a private one, or another at the second look, is not fetched."""
    asked: list[int] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(port)
        return ["93.184.216.34", "127.0.0.1"]

    fetcher = ImageFetcher([f"img.example:{port}"], resolve)
    with pytest.raises(ImageFetchError, match="no public address"):
        asyncio.run(fetcher.data_uri(f"http://img.example:{port}/image"))
    assert len(asked) == 1


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *(
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "fc00::1",
            "fec0::1",
        ),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


def test_a_question_with_an_image_by_address(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SeeingEngine(["It is 41 metres deep [1]."])
    url = f"http://localhost:{port}/image"
    content: Any = [{"type": "text", "text": "How deep?"}, {"type": "image_url", "image_url": {"url": url}}]
    library = FakeLibrary(FakeAnswerer("seeing", engine))

    def ask(settings: ServeConfig) -> None:
        with (
            running(create_app(library, settings=settings)) as address,
            openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
        ):
            client.chat.completions.create(model="seeing", messages=[{"role": "user", "content": content}])

    before = len(_Images.asked)
    with pytest.raises(openai.BadRequestError, match=r"is no data URI.*\[serve\] image_hosts names no host"):
        ask(ServeConfig())
    with pytest.raises(openai.BadRequestError, match="has no public address"):
        ask(ServeConfig(image_hosts=(f"localhost:{port}",)))
    assert len(_Images.asked) == before
    monkeypatch.setattr(image_fetch, "is_public", lambda address: True)
    ask(ServeConfig(image_hosts=(f"localhost:{port}",)))
    assert [image.size for image in engine.last.images] == [(4, 2)]
    assert len(_Images.asked) == before + 1
