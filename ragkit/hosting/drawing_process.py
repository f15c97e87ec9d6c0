"""One process that draws pages: asked for a page at a time, watched, and killed where a page takes too much."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragkit.errors import DocumentError
from ragkit.indexers.page_images import LONGEST_SIDE
from ragkit.serve.stores.index_process import memory_of, memory_of_group

if TYPE_CHECKING:
    from PIL.Image import Image

_LOOK_S = 0.1
# Until it has loaded its libraries.
START_S = 60.0
# From the end of what it says to its own.
_END_S = 1.0
_LONGEST_LINE = 1_000_000
_PIECE = 1 << 20
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class DrawLimits:
    """Of one page. memory_mb: beyond what the process holds when it has started; 0: no limit."""

    timeout_s: float
    memory_mb: int


@dataclass(slots=True)
class _Watch:
    """Over a page that is drawn. next_look: at the memory."""

    page: int
    deadline: float
    next_look: float


class DrawingProcess:
    """Used by one thread at a time, but for `kill`. command: what speaks as `ragkit.hosting.drawing_worker`.

    is_sound: whether it can be asked for another page. used_at: when it last was, by `time.monotonic`.
    """

    def __init__(self, command: Sequence[str], limits: DrawLimits) -> None:
        """Returns at once; the first page waits until it is ready."""
        self._limits = limits
        # A session of its own: what it starts ends with it, and Ctrl-C on a terminal does not reach it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._heard = bytearray()
        self._base_bytes = 0
        self._is_ready = False
        self.is_sound = True
        self.used_at = time.monotonic()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, or was killed."""
        return self._process.poll() is not None

    def draw(self, request: Mapping[str, Any]) -> Image:
        """The picture that it answers a request with; see `drawing_worker`.

        Raises:
            DocumentError: the page cannot be drawn; or it took more than the limits, or crashed the process, which
                is not sound then.
        """
        self.is_sound = False
        self._wait_until_ready()
        now = time.monotonic()
        watch = _Watch(request["page"], now + self._limits.timeout_s, now + _LOOK_S)
        # One that has just ended is found out by what is not heard of it.
        with contextlib.suppress(BrokenPipeError):
            self._in.write(json.dumps(request).encode() + b"\n")
        reply = self._line(watch)
        picture = None if "problem" in reply else self._picture(reply, watch)
        held = memory_of(self._process.pid) - self._base_bytes
        # What it still holds would count against the next page.
        is_slim = not self._limits.memory_mb or held < self._limits.memory_mb * _MEGABYTE / 2
        self.is_sound = is_slim and not self._heard
        self.used_at = time.monotonic()
        if picture is None:
            raise DocumentError(str(reply["problem"]))
        return picture

    def kill(self) -> None:
        """End it, and all that it has started, at once. Any thread may; the one that waits for a page is told."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it and give back what it took."""
        self.kill()
        self._process.wait()
        self._in.close()
        self._out.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while b"\n" not in self._heard and not self._is_ready:
            if self._poll.poll(_LOOK_S * 1000) and not self._hear():
                raise DocumentError(f"the process that draws pages did not start ({self._how_it_ended()})")
            if time.monotonic() > deadline:
                raise DocumentError(f"the process that draws pages did not start in {START_S:g} s")
        if not self._is_ready:
            self._heard.clear()
            self._base_bytes = memory_of(self._process.pid)
            self._is_ready = True

    def _line(self, watch: _Watch) -> dict[str, Any]:
        while b"\n" not in self._heard:
            self._hear_more(watch)
            if len(self._heard) > _LONGEST_LINE:
                raise DocumentError(f"the process that draws page {watch.page} sent no end of a message")
        line, _, rest = self._heard.partition(b"\n")
        self._heard = rest
        try:
            reply = json.loads(line)
            return {"problem": reply["problem"]} if "problem" in reply else _size(reply)
        except (ValueError, TypeError, KeyError) as error:
            raise DocumentError(f"the process that draws page {watch.page} sent what is no message") from error

    def _picture(self, size: Mapping[str, int], watch: _Watch) -> Image:
        from PIL import Image as PillowImage

        width, height = size["width"], size["height"]
        while len(self._heard) < width * height * 3:
            self._hear_more(watch)
        pixels = self._heard[: width * height * 3]
        del self._heard[: width * height * 3]
        return PillowImage.frombytes("RGB", (width, height), pixels)

    def _hear_more(self, watch: _Watch) -> None:
        """Wait for a piece of what it says; between looks at its limits.

        Raises:
            DocumentError: it is beyond its limits, or has ended.
        """
        while not self._poll.poll(_LOOK_S * 1000):
            self._check(watch)
        self._check(watch)
        if not self._hear():
            how = self._how_it_ended()
            raise DocumentError(f"the process that draws page {watch.page} crashed on it ({how})")

    def _hear(self) -> bool:
        """Read what is there; False at its end."""
        piece = self._out.read(_PIECE)
        self._heard += piece or b""
        return bool(piece)

    def _check(self, watch: _Watch) -> None:
        now = time.monotonic()
        if now > watch.deadline:
            raise DocumentError(
                f"drawing page {watch.page} took more than {self._limits.timeout_s:g} s and was ended "
                "([serve] draw_timeout_s)"
            )
        if self._limits.memory_mb and now > watch.next_look:
            watch.next_look = now + _LOOK_S
            taken = memory_of_group(self._process.pid) - self._base_bytes
            if taken > self._limits.memory_mb * _MEGABYTE:
                raise DocumentError(
                    f"drawing page {watch.page} took more than {self._limits.memory_mb} MB of memory and was "
                    "ended ([serve] draw_memory_mb)"
                )

    def _how_it_ended(self) -> str:
        # It may have closed its channel a moment before.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.kill()
        status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"status {status}"


def _size(reply: Mapping[str, Any]) -> dict[str, int]:
    """Raises ValueError where no picture has such a size."""
    size = {"width": int(reply["width"]), "height": int(reply["height"])}
    if not all(1 <= side <= LONGEST_SIDE for side in size.values()):
        raise ValueError(f"{size} pixels")
    return size
