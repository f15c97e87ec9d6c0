"""Pictures of pages for many readers: few at a time, in threads, the last ones kept."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ragkit.errors import DocumentError
from ragkit.serve.pages.draw_boxes import draw_boxes, encoded, fitted
from ragkit.serve.pages.page_view import PageView

_THREADS = 2
_KEPT_BYTES = 64_000_000
# A picture that is drawn anew from its document may change; how long a drawing of it is used.
_FRESH_S = 60
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class PrintedPage:
    """A picture as it goes over the wire."""

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Names the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


class PicturePress:
    """Draws pages with their boxes. Pictures take tens of megabytes while they are drawn: two at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ragkit-pages")
        self._kept: OrderedDict[object, PrintedPage] = OrderedDict()
        self._lock = threading.Lock()

    async def print(self, view: PageView, width: int | None = None) -> PrintedPage:
        """The picture of a page that has one.

        Raises:
            DocumentError: it cannot be drawn, or not in a minute.
        """
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._printed, view, width)
        try:
            return await asyncio.wait_for(work, _TIMEOUT_S)
        except TimeoutError as error:
            raise DocumentError(f"{_name(view)} was not drawn in {_TIMEOUT_S:.0f} s") from error

    def _printed(self, view: PageView, width: int | None) -> PrintedPage:
        assert view.picture is not None
        age = "" if view.picture.path else str(int(time.monotonic() / _FRESH_S))
        picture = (view.picture.path, view.page.text, age)
        key = (view.corpus, view.document, view.page.number, picture, view.boxes, width)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        printed = _drawn(view, width)
        with self._lock:
            self._kept[key] = printed
            while sum(len(page.content) for page in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return printed


def _drawn(view: PageView, width: int | None) -> PrintedPage:
    from PIL.Image import DecompressionBombError

    assert view.picture is not None
    try:
        picture = fitted(view.picture.load().convert("RGB"), width)
        return PrintedPage(*encoded(draw_boxes(picture, view.boxes)))
    except (OSError, SyntaxError, ValueError, MemoryError, DecompressionBombError) as error:
        raise DocumentError(f"{_name(view)} cannot be drawn: {error}") from error


def _name(view: PageView) -> str:
    return f"page {view.page.number} of {view.document!r}"
