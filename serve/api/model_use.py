"""Models of the corpora used one call at a time, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class ModelUse:
    """Runs calls of a model in a thread, one after the other, so that requests share its memory and its cores.

    A caller that is cancelled while it waits has nothing done for it.
    """

    def __init__(self) -> None:
        # Held by those who wait.
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def run(self, model: object, call: Callable[[], T]) -> T:
        """The result of `call`, which uses `model`. A call that has begun is waited for, come what may."""
        lock = self._locks.setdefault(id(model), asyncio.Lock())
        async with lock:
            work = asyncio.ensure_future(asyncio.to_thread(call))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                # The thread cannot be stopped; the next call must not begin beside it.
                await asyncio.wait({work})
                # Or its error, which nobody is told any more, would be logged as one that was overlooked.
                work.exception()
                raise
