"""Work that is given up when the client that wants it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed the connection before its answer was there."""


class Connection:
    """Watches one request's connection. The request's body has been read."""

    def __init__(self, request: Request) -> None:
        self._gone = asyncio.ensure_future(_disconnected(request))

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the client goes.

        Raises:
            ClientGoneError: the client went first.
        """
        if self._gone.done():
            work.close()
            raise ClientGoneError
        try:
            # Without a task of its own: a stream comes here for each of its pieces.
            async with asyncio.timeout(None) as patience:
                with self._watched(patience):
                    return await work
        except TimeoutError:
            if patience.expired():
                raise ClientGoneError from None
            raise

    @contextmanager
    def _watched(self, patience: asyncio.Timeout) -> Iterator[None]:
        """Ends the patience when the client goes."""
        is_over = False

        def end(_: object) -> None:
            # A callback that is on its way cannot be taken back.
            if not is_over:
                patience.reschedule(0.0)

        self._gone.add_done_callback(end)
        try:
            yield
        finally:
            is_over = True
            self._gone.remove_done_callback(end)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching. That is not waited for, which would delay the reply: the watcher holds nothing."""
        self._gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
