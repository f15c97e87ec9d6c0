"""What becomes of the requests under way when the server is told to end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ServerEnd:
    """Gives requests under way some seconds more, from when the server is told to end.

    give_up: has calls of models that are still under way come back, for no thread can be stopped. May be called
    twice.
    """

    def __init__(self, seconds: float = math.inf, give_up: Callable[[], None] = lambda: None) -> None:
        self.seconds = seconds
        self._give_up = give_up
        self._limits: set[asyncio.Timeout] = set()
        # By the loop's clock.
        self._due = math.inf

    def ended(self, limit: asyncio.Timeout) -> bool:
        """Whether the limit is the one that the server has, not its own."""
        return limit.when() == self._due

    @contextmanager
    def heeded(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Inside, the limit ends by the time that the server has."""
        self._limits.add(limit)
        self._shorten(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)

    def begin(self) -> None:
        """The server is told to end. In the event loop."""
        if math.isinf(self.seconds):
            return
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self.seconds
        loop.call_at(self._due, self._give_up)
        for limit in self._limits:
            self._shorten(limit)

    def finish(self) -> None:
        """The server has ended, or was told to not wait any longer."""
        self._give_up()

    def _shorten(self, limit: asyncio.Timeout) -> None:
        when = limit.when()
        if not limit.expired() and self._due < (math.inf if when is None else when):
            limit.reschedule(self._due)
