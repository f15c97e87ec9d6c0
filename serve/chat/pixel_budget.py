"""How many pixels of clients' images are decoded at a time, by all requests together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from ragkit.serve.chat.image_url import MOST_PIXELS

T = TypeVar("T")

# Each thread that has ever decoded a large image holds some of that memory from then on.
_THREADS = 4


class PixelBudget:
    """Lets images be decoded that have together no more than the largest one may have; the others wait their turn.

    Lives in one event loop.
    """

    def __init__(self, most: int = MOST_PIXELS) -> None:
        self._free = most
        self._first = asyncio.Lock()
        self._freed = asyncio.Event()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="images")

    async def run(self, pixels: int, decode: Callable[[], T]) -> T:
        """The result of `decode`, which has its turn in a thread. pixels: that it takes, within the budget."""
        async with self._first:
            while self._free < pixels:
                self._freed.clear()
                await self._freed.wait()
            self._free -= pixels
        call = partial(copy_context().run, decode)
        work = asyncio.get_running_loop().run_in_executor(self._threads, call)
        # The thread cannot be stopped: where nobody waits any more it holds its pixels until it ends.
        work.add_done_callback(partial(self._give_back, pixels))
        return await asyncio.shield(work)

    def _give_back(self, pixels: int, work: asyncio.Future[T]) -> None:
        # Or an error that nobody waits for any more would be logged as one that was overlooked.
        work.exception()
        self._free += pixels
        self._freed.set()
