"""The process that indexes: started when there is work, watched, and killed where it takes too much."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.serve.stores.rows import FileProgress

_log = logging.getLogger("ragkit.serve")
_LOOK_S = 0.25
# From being told that its job is not wanted any more.
_CANCEL_S = 5.0
_LONGEST_LINE = 64_000_000
_MEGABYTE = 1_000_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
Message = dict[str, Any]


class ProcessEndedError(Exception):
    """The process ended in the middle of a job. reason: as a client may read it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotStartedError(Exception):
    """The process ended before it was ready for work; its stderr says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one job. memory_mb: beyond what the process holds with its models loaded; 0: no limit."""

    timeout_s: float
    memory_mb: int


class IndexProcess:
    """One process for many jobs, so that its models stay loaded. Used by one task at a time.

    Args:
        first: what it is told when it starts; see `ragkit.hosting.index_worker`.
    """

    def __init__(self, first: Message) -> None:
        self._first = first
        self._process: asyncio.subprocess.Process | None = None
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._base_bytes = 0

    async def start(self) -> None:
        """Start it unless it runs; returns when its models are loaded.

        Raises:
            NotStartedError: it ended before that.
        """
        if self._process is not None and self._process.returncode is None:
            return
        await self.kill()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ragkit.hosting.index_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # A group of its own: what it starts ends with it, and Ctrl-C on a terminal does not reach it.
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        self._heard = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(self._process, self._heard))
        await self._tell(self._first)
        if await self._heard.get() is None:
            status = await self._process.wait()
            await self.kill()
            raise NotStartedError(f"the indexing process ended with status {status} before it was ready")
        self._base_bytes = await asyncio.to_thread(memory_of_group, self._process.pid)

    async def do(
        self,
        message: Message,
        limits: Limits,
        progress: Callable[[FileProgress], None],
        unwanted: Callable[[], bool],
    ) -> Message:
        """How a job ended. progress: called with each step. unwanted: whether it should end early.

        Raises:
            ProcessEndedError: it took more than the limits and was killed, or ended by itself.
        """
        assert self._process is not None, "start comes first"
        job, deadline = message["job"], time.monotonic() + limits.timeout_s
        told_at = 0.0
        await self._tell(message)
        while True:
            try:
                # Not wait_for: in Python 3.11 that loses a cancellation that comes together with a message.
                async with asyncio.timeout(_LOOK_S):
                    heard = await self._heard.get()
            except TimeoutError:
                heard = {}
            if heard is None:
                raise await self._ended()
            if heard.get("job") == job and "status" in heard:
                return heard
            if heard.get("job") == job and "committed" in heard:
                limits, deadline = Limits(math.inf, 0), math.inf
            elif heard.get("job") == job:
                del heard["job"]
                progress(FileProgress(**heard))
            if unwanted() and not told_at:
                told_at = time.monotonic()
                await self._tell({"cancel": job})
            if told_at and time.monotonic() > told_at + _CANCEL_S:
                await self.kill()
                return {"status": "cancelled"}
            await self._check(limits, deadline)

    async def kill(self) -> None:
        """End it, and all that it has started, at once."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reading is not None:
            await self._reading

    async def _check(self, limits: Limits, deadline: float) -> None:
        assert self._process is not None
        if time.monotonic() > deadline:
            await self.kill()
            raise ProcessEndedError(
                f"indexing took more than {limits.timeout_s:g} s and was ended ([serve] index_timeout_s)"
            )
        if limits.memory_mb:
            taken = await asyncio.to_thread(memory_of_group, self._process.pid) - self._base_bytes
            if taken > limits.memory_mb * _MEGABYTE:
                await self.kill()
                raise ProcessEndedError(
                    f"indexing took more than {limits.memory_mb} MB of memory and was ended "
                    "([serve] index_memory_mb)"
                )

    async def _ended(self) -> ProcessEndedError:
        assert self._process is not None
        status = await self._process.wait()
        await self.kill()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return ProcessEndedError(f"the process that read the file crashed ({how})")

    async def _tell(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # One that has just ended is found out by what is not heard of it.
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process, heard: asyncio.Queue[Message | None]) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                heard.put_nowait(json.loads(line))
        except ValueError as error:
            _log.error("the indexing process sent what is no message: %s", error)
        finally:
            heard.put_nowait(None)


def memory_of_group(group: int) -> int:
    """Bytes of memory that the processes of a group hold of their own; 0 where the system does not tell."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        # Processes come and go while we look.
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Behind the name, which may hold anything: state, parent, group.
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += _own_bytes(path)
    return total


def memory_of(process: int) -> int:
    """Likewise of one process."""
    with contextlib.suppress(OSError, ValueError):
        return _own_bytes(Path("/proc") / str(process))
    return 0


def _own_bytes(process: Path) -> int:
    resident, shared = (process / "statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * _PAGE_BYTES
