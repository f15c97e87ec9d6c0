"""Images of requests are decoded only where somebody gets to see them, and few at a time."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from ragkit.pictures import image_url, scaled_down
from ragkit.records import AskRequest, ChatMessage, ImageLimits
from ragkit.serve.api.app import create_app
from ragkit.serve.chat import request_images
from ragkit.serve.chat.pixel_budget import PixelBudget
from ragkit.serve.chat.request_images import GivenImages
from ragkit.serve.engines.echo_engine import EchoEngine
from tests.serve.house import FakeAnswerer, FakeLibrary, running, wait_until
from tests.serve.picture_house import SeeingEngine


def large_image() -> str:
    """49 megapixels in some kilobytes, cut off: to decode it is an error."""
    held = io.BytesIO()
    Image.new("1", (7000, 7000)).save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()[:500]).decode()}"


def given(*pictures: Image.Image | str) -> tuple[GivenImages, list[Image.Image]]:
    images = GivenImages("messages")
    urls = [picture if isinstance(picture, str) else image_url(picture) for picture in pictures]
    return images, [images.blank(url, f"messages[{i}]") for i, url in enumerate(urls)]


def squares(*sides: int) -> list[Image.Image]:
    return [Image.new("RGB", (side, side), (side, 0, 0)) for side in sides]


def seen(images: GivenImages, ask: AskRequest, limits: ImageLimits) -> AskRequest:
    images.choose(ask, lambda: SeeingEngine([], image_limits=limits))
    return asyncio.run(images.decoded(PixelBudget())).in_question(ask)


def test_the_first_of_the_question_and_the_last_of_all_are_decoded() -> None:
    images, blanks = given(large_image(), *squares(3, 4, 5, 6))
    earlier = ChatMessage("user", "Look.", tuple(blanks[:2]))
    ask = seen(images, AskRequest("And?", (earlier,), images=tuple(blanks[2:])), ImageLimits(2, 10_000))
    assert [image.size for image in ask.history[0].images] == [(1, 1), (1, 1)]
    assert [image.size for image in ask.images] == [(4, 4), (5, 5), (6, 6)]
    images, blanks = given(large_image(), *squares(3, 4))
    earlier = ChatMessage("user", "Look.", tuple(blanks))
    ask = seen(images, AskRequest("And?", (earlier,)), ImageLimits(2, 10_000))
    assert [image.size for image in ask.history[0].images] == [(1, 1), (3, 3), (4, 4)]


def test_large_images_are_kept_at_the_size_that_is_used() -> None:
    picture = Image.radial_gradient("L").convert("RGB").resize((2000, 1500))
    for most, kept in ((2_500_000, 2_500_000), (10_000, 2_000_000)):
        images, blanks = given(picture)
        (found,) = seen(images, AskRequest("What?", images=tuple(blanks)), ImageLimits(8, most)).images
        assert found.size == scaled_down(picture, kept).size
    images, blanks = given(picture.resize((200, 150)))
    (found,) = seen(images, AskRequest("What?", images=tuple(blanks)), ImageLimits(8, 10_000)).images
    assert found.tobytes() == picture.resize((200, 150)).tobytes()


@pytest.fixture
def address() -> Iterator[str]:
    with running(create_app(FakeLibrary(FakeAnswerer("papers", EchoEngine())))) as url:
        yield url


@pytest.mark.parametrize(
    ("model", "status", "code"), [("papers", 400, "image_not_supported"), ("other", 404, "model_not_found")]
)
def test_nothing_is_decoded_for_who_sees_nothing(
    address: str, model: str, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(request_images, "image_of_url", refuse)
    url, asked = large_image(), {"type": "text", "text": "What is it?"}
    chat = [asked, *[{"type": "image_url", "image_url": {"url": url}}] * 3]
    said = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": url}]
    for path, body in (
        ("chat/completions", {"messages": [{"role": "user", "content": chat}]}),
        ("responses", {"input": [{"role": "user", "content": said}]}),
    ):
        reply = httpx.post(f"{address}/v1/{path}", json={"model": model, **body}, timeout=30)
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


def test_few_pixels_are_decoded_at_a_time_and_in_turn() -> None:
    go_on, begun = threading.Event(), []

    def decode(number: int) -> int:
        begun.append(number)
        assert go_on.wait(30)
        return number

    async def together() -> list[int]:
        budget, sizes = PixelBudget(100), (50, 40, 60, 10)
        work = [asyncio.create_task(budget.run(pixels, lambda i=i: decode(i))) for i, pixels in enumerate(sizes)]  # type: ignore[misc]
        await asyncio.to_thread(wait_until, lambda: len(begun) == 2)
        await asyncio.sleep(0.05)
        # The third has to wait, and the fourth, which would fit, does not overtake it.
        assert sorted(begun) == [0, 1]
        work[2].cancel()
        work[0].cancel()
        go_on.set()
        await asyncio.wait(work)
        assert (work[0].cancelled(), work[2].cancelled()) == (True, True)
        return [work[1].result(), work[3].result(), await budget.run(100, lambda: decode(9))]

    assert asyncio.run(together()) == [1, 3, 9]
