"""Work of one thread as an asynchronous stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")


class Outlet(Generic[T]):
    """Where the thread puts what it makes; `is_closed` tells it that nobody reads any more."""

    def __init__(self, put: Callable[[T], object]) -> None:
        self._put = put
        self._closed = threading.Event()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def put(self, item: T) -> None:
        if not self._closed.is_set():
            self._put(item)

    def close(self) -> None:
        self._closed.set()


async def stream_from_thread(executor: Executor, work: Callable[[Outlet[T]], object]) -> AsyncIterator[T]:
    """Run `work` in the executor and yield what it puts; its exception is raised here.

    When the stream is closed early the outlet closes: work that is waiting never runs, and work
    under way should look at `Outlet.is_closed` and end.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | None] = asyncio.Queue()
    outlet: Outlet[T] = Outlet(lambda item: loop.call_soon_threadsafe(queue.put_nowait, item))
    future = loop.run_in_executor(executor, work, outlet)
    future.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            yield item
        await future
    finally:
        outlet.close()
        future.cancel()
