"""Pages that are pictures, hits on them, and engines that see, for the tests of serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ragkit.errors import DocumentError
from ragkit.records import (
    ChatDelta,
    ChatMessage,
    ChatReply,
    ChatRequest,
    Hit,
    ImageLimits,
    Page,
    PageImage,
    Passage,
    Usage,
)
from tests.serve.house import FakeStore, make_page

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def page_image(document: str, page: int, colour: tuple[int, int, int], size: tuple[int, int]) -> PageImage:
    return PageImage(document, page, *size, load=lambda: Image.new("RGB", size, colour))


def broken_image(document: str, page: int) -> PageImage:
    def load() -> Image.Image:
        raise DocumentError(f"/srv/documents/{document} is gone")

    return PageImage(document, page, 10, 10, load)


def picture_hit(image: PageImage, score: float = 1.0, key: int = 1) -> Hit:
    return Hit(score, Passage(key, image.document, image.page, 0, 0, "", image=image))


def three_pictures() -> list[Hit]:
    """a.pdf page 1 (red, 40 x 60), b.pdf page 4 (green, 80 x 60), a.pdf page 2 (blue, 40 x 30)."""
    return [
        picture_hit(page_image("a.pdf", 1, RED, (40, 60)), 0.75, 1),
        picture_hit(page_image("b.pdf", 4, GREEN, (80, 60)), 0.5, 2),
        picture_hit(page_image("a.pdf", 2, BLUE, (40, 30)), 0.25, 3),
    ]


def picture_store(**texts: str) -> FakeStore:
    """The three pages; `a1`, `b4` and `a2` give what text the corpus has of them."""
    pages: dict[tuple[str, int], Page] = {}
    for hit in three_pictures():
        document, number = hit.passage.document, hit.passage.page
        pages[document, number] = make_page(texts.get(f"{document[0]}{number}", ""), number)
    return FakeStore(pages)


@dataclass
class SeeingEngine:
    """Says its replies one after the other, four characters at a time, and remembers what it was asked."""

    replies: list[str]
    logprobs: list[tuple[float, ...] | None] = field(default_factory=list)
    image_limits: ImageLimits | None = field(default_factory=lambda: ImageLimits(8, 1_000_000))
    name: str = "seeing"
    context_tokens: int = 8192
    tokens_per_pixel: float = 0.0
    asked: list[ChatRequest] = field(default_factory=list)

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        pixels = sum(image.width * image.height for message in messages for image in message.images)
        return 10 + int(pixels * self.tokens_per_pixel)

    async def chat(self, request: ChatRequest) -> ChatReply:
        turn = len(self.asked)
        self.asked.append(request)
        logprobs = self.logprobs[turn] if self.logprobs else None
        return ChatReply(self.replies[turn], usage=Usage(5, 6), logprobs=logprobs)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reply = await self.chat(request)
        for start in range(0, len(reply.text), 4):
            yield ChatDelta(reply.text[start : start + 4])
        yield ChatDelta(finish_reason="stop", usage=reply.usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        raise NotImplementedError

    @property
    def last(self) -> ChatMessage:
        """The last message of the last request."""
        return self.asked[-1].messages[-1]
