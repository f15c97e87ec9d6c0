"""Drawing the pages of a server: in a few processes, kept while they are used, ended with the server."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ragkit.errors import DocumentError
from ragkit.hosting.drawing_process import START_S, DrawingProcess, DrawLimits
from ragkit.hosting.drawing_worker import request_of
from ragkit.indexers.page_images import Drawing
from ragkit.serve_config import ServeConfig

if TYPE_CHECKING:
    from PIL.Image import Image

# Two, so that others can look at pages while one of them takes its time.
_MOST = 2
_IDLE_S = 60.0
WORKER = (sys.executable, "-m", "ragkit.hosting.drawing_worker")


class DrawingPool:
    """Has pages drawn where they can do no harm. `draw` is a `Redraw`. Threads may share it; a context manager.

    Args:
        command: of the processes.
        idle_s: after which a process that draws nothing is ended.
    """

    def __init__(self, limits: DrawLimits, command: Sequence[str] = WORKER, idle_s: float = _IDLE_S) -> None:
        self._limits = limits
        self._command = command
        self._idle_s = idle_s
        self._places = threading.Semaphore(_MOST)
        self._lock = threading.Lock()
        # The one used last is taken first, so that the others can be ended.
        self._idle: list[DrawingProcess] = []
        self._busy: set[DrawingProcess] = set()
        self._sweeper: threading.Timer | None = None
        self._is_closed = False

    @classmethod
    def of(cls, settings: ServeConfig) -> DrawingPool:
        """With the limits of a server's settings."""
        return cls(DrawLimits(settings.draw_timeout_s, settings.draw_memory_mb))

    def draw(self, drawing: Drawing, path: Path, media_type: str, content_hash: str, page: int) -> Image:
        """As `Drawing.draw_again`, equal in every pixel.

        Raises:
            DocumentError: also where drawing crashed or took more than the limits, or no process had time for it.
        """
        # As long as the page before may take it: from the start of its process to the end of its time.
        patience_s = START_S + self._limits.timeout_s
        if not self._places.acquire(timeout=patience_s):
            raise DocumentError(
                f"page {page} was not drawn: other pages kept all {_MOST} processes that draw busy for "
                f"{patience_s:g} s"
            )
        try:
            with self._process() as process:
                return process.draw(request_of(drawing, path, media_type, content_hash, page))
        finally:
            self._places.release()

    def close(self) -> None:
        """End all processes; whoever waits for a page gets a DocumentError."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill()
            if self._sweeper is not None:
                self._sweeper.cancel()
        for process in idle:
            process.end()

    def __enter__(self) -> DrawingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _process(self) -> Iterator[DrawingProcess]:
        """One that nobody else uses; kept afterwards, if it is sound."""
        process = self._taken()
        try:
            yield process
        finally:
            with self._lock:
                self._busy.discard(process)
                is_kept = process.is_sound and not self._is_closed
                if is_kept:
                    self._idle.append(process)
                    self._sweep_later()
            if not is_kept:
                process.end()

    def _taken(self) -> DrawingProcess:
        with self._lock:
            if self._is_closed:
                raise DocumentError("the server is ending and draws no more pages")
            process = self._idle.pop() if self._idle else None
            if process is not None and process.has_ended:
                process.end()
                process = None
            process = process or DrawingProcess(self._command, self._limits)
            self._busy.add(process)
            return process

    def _sweep_later(self) -> None:
        """Under the lock."""
        if self._sweeper is None:
            self._sweeper = threading.Timer(self._idle_s, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        """End what has been idle for long."""
        with self._lock:
            since = time.monotonic() - self._idle_s
            over = [process for process in self._idle if process.used_at <= since]
            self._idle = [process for process in self._idle if process.used_at > since]
            self._sweeper = None
            if self._idle and not self._is_closed:
                self._sweep_later()
        for process in over:
            process.end()
