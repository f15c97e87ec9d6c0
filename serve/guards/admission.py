"""How many requests are worked on at a time, how many wait, and for how long."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.guards.problem_reply import send_problem
from ragkit.serve.guards.request_record import current_record

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Weight of the newest request in the mean of service times.
_NEWEST = 0.1
_RETRY_AFTER_S = (1, 60)
_BODY_S = 60.0
CLIENT_GONE = 499
_ASKING = frozenset(
    {"/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank"}
)


def asks(method: str, path: str) -> bool:
    """Whether a request is one of those that models work for."""
    is_search = path.startswith("/v1/vector_stores/") and path.endswith("/search")
    return method == "POST" and (path in _ASKING or is_search)


class Admission:
    """Places for requests, given in the order in which they came.

    Lives in one event loop.
    """

    def __init__(self, max_concurrent: int, max_queue: int, queue_timeout_s: float) -> None:
        self._max_concurrent = max_concurrent
        self._max_queue = max_queue
        self._timeout_s = queue_timeout_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._running = 0
        self._service_s: float | None = None

    @property
    def running(self) -> int:
        """Requests that have a place."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Take a place where one is free and nobody waits."""
        if self._running >= self._max_concurrent or self._waiting:
            return False
        self._running += 1
        return True

    async def wait(self) -> None:
        """Wait for a place; whoever is cancelled meanwhile gives up its turn.

        Raises:
            HttpProblem: 429 with retry-after: the queue is full, or the turn did not come in time.
        """
        if len(self._waiting) >= self._max_queue:
            raise self._busy(f"{self._max_queue} requests wait already")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._timeout_s):
                await turn
        except TimeoutError as error:
            self._give_up(turn)
            raise self._busy(f"no place was free within {self._timeout_s:g} s") from error
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def leave(self, service_s: float | None = None) -> None:
        """Give the place back, to the first that waits. service_s: how long it was used; None where it was not."""
        if service_s is not None:
            mean = service_s if self._service_s is None else self._service_s
            self._service_s = mean + _NEWEST * (service_s - mean)
        self._pass_on()

    def retry_after_s(self) -> int:
        """About when a place will be free for one who comes now, by the service times of late."""
        ahead = len(self._waiting) + 1
        wait_s = (self._service_s or 1.0) * ahead / self._max_concurrent
        least, most = _RETRY_AFTER_S
        return min(max(math.ceil(wait_s), least), most)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # The place came in the same moment.
            self._pass_on()
        elif turn in self._waiting:
            self._waiting.remove(turn)

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    def _busy(self, why: str) -> HttpProblem:
        seconds = self.retry_after_s()
        return HttpProblem(
            429,
            f"the server is busy: {why}; try again in {seconds} s",
            "rate_limit_error",
            code="server_busy",
            headers={"retry-after": str(seconds)},
        )


class AdmissionMiddleware:
    """Lets requests that models work for in as `Admission` says; others pass.

    The body is read before a place is asked for: a slow sender holds none.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not asks(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read_body(receive)
            if body is None or not (self._admission.try_enter() or await self._wait(receive)):
                await _send_gone(send)
                return
        except HttpProblem as problem:
            await send_problem(send, problem)
            return
        if record := current_record():
            record.queued_s = record.seconds
        started = time.perf_counter()
        try:
            await self._app(scope, _Replayed(body, receive), send)
        finally:
            self._admission.leave(time.perf_counter() - started)

    async def _wait(self, receive: Receive) -> bool:
        """Whether there is a place, and somebody who still wants it."""
        entering = asyncio.ensure_future(self._admission.wait())
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({entering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if await _has_place(entering):
                self._admission.leave()
            raise
        finally:
            await _stop(leaving)
        if await _has_place(entering):
            return True
        if not entering.cancelled():
            entering.result()
        return False


class _Replayed:
    """The body that was read already, then what comes behind it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _read_body(receive: Receive) -> bytes | None:
    """None where the client goes before it has sent all."""
    pieces = []
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                pieces.append(message.get("body", b""))
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError as error:
        raise HttpProblem(408, f"the body did not come within {_BODY_S:g} s") from error


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _has_place(entering: asyncio.Future[None]) -> bool:
    """Whether a place came; one that has not come yet is not waited for."""
    await _stop(entering)
    return not entering.cancelled() and entering.exception() is None


async def _stop(task: asyncio.Future[None]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


async def _send_gone(send: Send) -> None:
    """Nobody reads it; the server wants a reply to every request all the same."""
    await send({"type": "http.response.start", "status": CLIENT_GONE, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
