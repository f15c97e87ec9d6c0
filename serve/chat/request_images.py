"""The images of a request, whichever API it came by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from ragkit.pictures import scaled_down
from ragkit.protocols import Engine
from ragkit.records import AskRequest, ChatMessage
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.image_fetch import fetched
from ragkit.serve.chat.image_url import image_of_url, pixels_of_url
from ragkit.serve.chat.pixel_budget import PixelBudget
from ragkit.serve.prompting.image_size import check_images

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
_CHATS_FIELD = "image_url.url"

# All images of a request, decoded, at three bytes a pixel.
_MOST_PIXELS = 150_000_000
# An image is also searched with, by models that may read more than the engine is set to.
_LEAST_KEPT_PIXELS = 2_000_000


@dataclass(frozen=True, slots=True)
class _Given:
    """blank: what stands for the image. place: the field that it stands in."""

    blank: Image
    url: str
    place: str
    pixels: int


class GivenImages:
    """The images of one request: blanks stand for them until it is known which of them anybody gets to see.

    A file of a few kilobytes can hold a gigabyte of one colour, so that headers alone are read before.

    Args:
        param: the field that they stand in.
    """

    def __init__(self, param: str) -> None:
        self._param = param
        self._field = _CHATS_FIELD if param == "messages" else "image_url"
        self._given: dict[int, _Given] = {}
        self._most_pixels = _LEAST_KEPT_PIXELS

    def blank(self, url: str, place: str) -> Image:
        """What stands for an image. Raises HttpProblem, 400: it is none."""
        from PIL.Image import new

        given = _Given(new("RGB", (1, 1)), url, place, pixels_of(url, place, self._field))
        self._given[id(given.blank)] = given
        return given.blank

    def check_pixels(self) -> None:
        """Raises HttpProblem, 400: all together are too large."""
        pixels = sum(given.pixels for given in self._given.values())
        if pixels > _MOST_PIXELS:
            raise HttpProblem(
                400,
                f"the {len(self._given)} images of the request have {pixels} pixels; at most {_MOST_PIXELS} are "
                "read: send fewer or smaller ones",
                param=self._param,
                code="invalid_image",
            )

    def choose(self, ask: AskRequest, engine: Callable[[], Engine]) -> None:
        """Leave those that the engine would not see blank. engine: may load a model, for requests with images.

        Seen are the first ones of the question, and of a conversation the last.

        Raises:
            ImageInputError: the question has images, and the engine reads text alone.
        """
        if not self._given:
            return
        limits = engine().image_limits
        if limits is None:
            # What earlier turns show is left out.
            check_images([ChatMessage("user", ask.question, ask.images)], None, engine().name)
            self._given.clear()
            return
        every = [*(image for message in ask.history for image in message.images), *ask.images]
        last = every[max(0, len(every) - limits.max_images) :]
        seen = {id(image) for image in (*ask.images[: limits.max_images], *last)}
        self._given = {key: given for key, given in self._given.items() if key in seen}
        self._most_pixels = max(limits.max_pixels, _LEAST_KEPT_PIXELS)

    async def decoded(self, budget: PixelBudget) -> DecodedImages:
        """One after the other, and scaled down at once to what is used of them.

        Raises:
            HttpProblem: 400, one is damaged.
        """
        found: dict[int, Image] = {}
        for key, given in self._given.items():
            found[key] = await budget.run(given.pixels, lambda given=given: self._read(given))  # type: ignore[misc]
        return DecodedImages(found)

    def _read(self, given: _Given) -> Image:
        return scaled_down(read_image(given.url, given.place, self._field), self._most_pixels)


@dataclass(frozen=True, slots=True)
class DecodedImages:
    """by_blank: those that were decoded, by the ids of what stood for them."""

    by_blank: Mapping[int, Image]

    def in_place(self, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
        """The messages with them."""
        return tuple(replace(message, images=self._swapped(message.images)) for message in messages)

    def in_question(self, ask: AskRequest) -> AskRequest:
        """The question, and what stands before it, with them."""
        return replace(ask, history=self.in_place(ask.history), images=self._swapped(ask.images))

    def _swapped(self, images: Sequence[Image]) -> tuple[Image, ...]:
        return tuple(self.by_blank.get(id(image), image) for image in images)


def read_image(url: str, place: str, field: str = _CHATS_FIELD) -> Image:
    """Decode an image; `place` is the part that it stands in, and `field` where in that.

    Raises:
        HttpProblem: 400.
    """
    return _read(image_of_url, url, place, field)


def pixels_of(url: str, place: str, field: str = _CHATS_FIELD) -> int:
    """What `read_image` would decode, by the image's header. Raises HttpProblem as that does."""
    return _read(pixels_of_url, url, place, field)


def _read(read: Callable[[str], T], url: str, place: str, field: str) -> T:
    try:
        return read(fetched(url))
    except ValueError as error:
        raise HttpProblem(400, f"{place}.{field}: {error}", param=place, code="invalid_image") from error
