"""Load from a process of its own: `python -m ragkit.eval.speed.load_client`, a plan in, what it saw out.

It speaks HTTP/1.1 over bare sockets, so that it takes little of the processor that it shares with the server.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

_TOO_MANY = 429
_LONGEST_PAUSE_S = 1.0
_CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """num_clients ask one question after another; with `rate` (a second) questions come by the clock instead.

    stream: whether answers are streamed. seed: of the order of questions and of the times between them.
    conversations: the messages that are sent for each question, in the place of the question alone.
    fields: further fields of each request, such as max_tokens.
    """

    address: str
    model: str
    questions: tuple[str, ...]
    seconds: float
    num_clients: int = 1
    rate: float = 0.0
    stream: bool = True
    seed: int = 0
    conversations: tuple[tuple[dict[str, Any], ...], ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)

    def body(self, chance: random.Random) -> dict[str, Any]:
        """A request about a question that chance chooses."""
        number = chance.randrange(len(self.questions))
        messages = self.conversations[number] if self.conversations else _question(self.questions[number])
        return {"model": self.model, "messages": messages, "stream": self.stream, **self.fields}


def _question(text: str) -> tuple[dict[str, Any], ...]:
    return ({"role": "user", "content": text},)


@dataclass(slots=True)
class LoadSeen:
    """statuses: how often each came; 0 stands for a connection that broke. errors: streams that did not end well.

    latencies_s, first_s: of the good answers, to the last byte and to the first of the text. cpu_s: processor time
    of the process that put the load.
    """

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Good answers a second."""
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    def add(self, later: LoadSeen) -> None:
        """Count what was seen later, under the same load, with this."""
        self.seconds += later.seconds
        for status, count in later.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        self.errors += later.errors
        self.latencies_s += later.latencies_s
        self.first_s += later.first_s
        self.cpu_s += later.cpu_s

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LoadSeen:
        """What `to_json` wrote."""
        raw = json.loads(text)
        return cls(**{**raw, "statuses": {int(status): count for status, count in raw["statuses"].items()}})


async def generate_load(plan: LoadPlan) -> LoadSeen:
    """Put the load on the server; returns once every answer that was asked for has come."""
    generator = _Generator(plan)
    started, cpu_s = time.perf_counter(), time.process_time()
    await (generator.by_the_clock() if plan.rate else generator.in_circles())
    generator.seen.seconds, generator.seen.cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    await generator.close()
    return generator.seen


class _Generator:
    def __init__(self, plan: LoadPlan) -> None:
        self.seen = LoadSeen()
        self._plan = plan
        self._chance = random.Random(plan.seed)
        parts = urlsplit(plan.address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._free: list[_Connection] = []

    async def in_circles(self) -> None:
        """Each client asks again as soon as it has its answer; one that is told to wait waits a second at most."""
        end = time.perf_counter() + self._plan.seconds

        async def client() -> None:
            while time.perf_counter() < end:
                pause_s = await self._ask(time.perf_counter(), self._body())
                if pause_s:
                    await asyncio.sleep(min(pause_s, _LONGEST_PAUSE_S))

        await asyncio.gather(*(client() for _ in range(self._plan.num_clients)))

    async def by_the_clock(self) -> None:
        """Questions come as those of many who do not know of one another; each counts from when it was due."""
        loop = asyncio.get_running_loop()
        asked: list[asyncio.Task[float]] = []

        def ask(due: float, body: bytes) -> None:
            asked.append(loop.create_task(self._ask(due, body)))

        # In a thread: a loop's own timer is exact to a millisecond, which each answer would seem to take longer.
        await asyncio.to_thread(self._tell_the_time, lambda *one: loop.call_soon_threadsafe(ask, *one))
        await asyncio.gather(*asked)

    def _tell_the_time(self, ask: Callable[[float, bytes], object]) -> None:
        """Call `ask` whenever a question is due."""
        due = started = time.perf_counter()
        while due < started + self._plan.seconds:
            body = self._body()
            time.sleep(max(due - time.perf_counter(), 0))
            ask(due, body)
            due += self._chance.expovariate(self._plan.rate)

    async def close(self) -> None:
        """End the connections."""
        await asyncio.gather(*(connection.close() for connection in self._free))

    def _body(self) -> bytes:
        return json.dumps(self._plan.body(self._chance)).encode()

    async def _ask(self, started: float, body: bytes) -> float:
        """Ask one question; returns the seconds of retry-after, or 0."""
        connection = self._connection()
        try:
            reply = await connection.post(_CHAT, body)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            await connection.close()
            self._count(0)
            self.seen.errors.append(f"{type(error).__name__}: {error}"[:200])
            return 0.1
        self._free.append(connection)
        self._count(reply.status)
        if reply.status == 200:
            if self._plan.stream and not reply.is_whole_stream:
                self.seen.errors.append(f"a stream ended in {reply.tail!r}"[:200])
            else:
                self.seen.latencies_s.append(time.perf_counter() - started)
                self.seen.first_s.append(reply.first_at - started)
        return reply.retry_after_s if reply.status == _TOO_MANY else 0.0

    def _connection(self) -> _Connection:
        """One that is free and that the server has not closed meanwhile, as it may with one that was idle."""
        while self._free:
            connection = self._free.pop()
            if not connection.is_over:
                return connection
        return _Connection(self._host, self._port)

    def _count(self, status: int) -> None:
        self.seen.statuses[status] = self.seen.statuses.get(status, 0) + 1


@dataclass(slots=True)
class _Reply:
    status: int
    retry_after_s: float
    first_at: float = 0.0
    tail: bytes = b""

    @property
    def is_whole_stream(self) -> bool:
        return self.tail.endswith(b"data: [DONE]\n\n")


class _Connection:
    """One connection, kept open between questions."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the other side has closed it."""
        return self._streams is not None and self._streams[0].at_eof()

    async def post(self, path: str, body: bytes) -> _Reply:
        reader, writer = self._streams or await asyncio.open_connection(self._host, self._port)
        self._streams = reader, writer
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        reply = _Reply(int(lines[0].split(" ")[1]), float(headers.get("retry-after", 0)))
        if headers.get("transfer-encoding") == "chunked":
            await self._read_chunks(reader, reply)
        else:
            reply.tail = (await reader.readexactly(int(headers["content-length"])))[-40:]
            reply.first_at = time.perf_counter()
        if headers.get("connection") == "close":
            await self.close()
        return reply

    async def _read_chunks(self, reader: asyncio.StreamReader, reply: _Reply) -> None:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            reply.tail = (reply.tail + (await reader.readexactly(size + 2))[:-2])[-40:]
            reply.first_at = reply.first_at or time.perf_counter()
        await reader.readexactly(2)

    async def close(self) -> None:
        if self._streams is not None:
            writer, self._streams = self._streams[1], None
            writer.close()
            # It may have broken already, which is why it is closed.
            with suppress(OSError):
                await writer.wait_closed()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a plan as JSON from stdin, print what was seen as JSON."""
    del arguments
    raw = json.load(sys.stdin)
    conversations = tuple(map(tuple, raw["conversations"]))
    plan = LoadPlan(**{**raw, "questions": tuple(raw["questions"]), "conversations": conversations})
    sys.stdout.write(asyncio.run(generate_load(plan)).to_json())


if __name__ == "__main__":
    main()
