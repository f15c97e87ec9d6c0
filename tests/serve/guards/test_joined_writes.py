"""What is written in one turn of the event loop leaves together, in order, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ragkit.serve.guards.joined_writes import JoinedWrites


class _Transport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def sent_by(*turns: Callable[[JoinedWrites], None]) -> list[bytes]:
    """What reaches the connection when these run in turns of the loop, one after the other."""
    under = _Transport()

    async def run() -> None:
        joined = JoinedWrites(under, asyncio.get_running_loop())  # type: ignore[arg-type]
        for turn in turns:
            turn(joined)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert joined.is_closing() == under.is_closed

    asyncio.run(run())
    return under.sent


def test_writes_of_one_turn_are_one_and_those_of_the_next_another() -> None:
    def head_and_body(joined: JoinedWrites) -> None:
        joined.write(b"head ")
        joined.write(b"body")

    assert sent_by(head_and_body, lambda joined: joined.write(b"more")) == [b"head body", b"more"]


def test_much_is_not_held_back() -> None:
    def much(joined: JoinedWrites) -> None:
        joined.write(b"a" * 40_000)
        joined.write(b"b" * 40_000)
        joined.write(b"c")

    assert sent_by(much) == [b"a" * 40_000 + b"b" * 40_000, b"c"]


def test_what_was_written_leaves_before_the_connection_closes() -> None:
    def last_words(joined: JoinedWrites) -> None:
        joined.write(b"bye")
        joined.close()

    assert sent_by(last_words) == [b"bye"]
