"""Drawing pages in processes of their own, ahead of what embeds them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ragkit.config import PagesConfig
from ragkit.devices import num_cores
from ragkit.errors import RagkitError
from ragkit.extras import require
from ragkit.indexers.page_images import Drawing, encoded, keep
from ragkit.records import PageImage, Passage

if TYPE_CHECKING:
    from PIL.Image import Image

# A process with nothing to do ends after so many seconds, and looks so often whether its parent is still there.
_IDLE_S = 20
_LOOK_S = 1.0

_Waiting = deque[tuple["DrawTask | None", "Future[DrawnPage] | None"]]


@dataclass(frozen=True, slots=True)
class DrawTask:
    """One page to draw. keep_in: the corpus that is to keep the picture, or None."""

    path: Path
    media_type: str
    page: int
    drawing: Drawing
    settings: PagesConfig
    keep_in: Path | None


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page's picture and the name it is kept under (or ""); or why there is none."""

    task: DrawTask
    picture: Image | None
    name: str = ""
    problem: str = ""

    def passage(self, document: str = "", title: str = "") -> Passage:
        """A page that was drawn, as embedders take it."""
        assert self.picture is not None, "only drawn pages are embedded"
        image = PageImage(document, self.task.page, *self.picture.size, self.picture.copy)
        return Passage(-1, document, self.task.page, 0, 0, "", title, image)


class PageDrawer:
    """Draws pages in `processes` processes, at most `ahead` pages ahead of what is taken.

    So memory holds `ahead` pictures at most. A page that crashes its process (PDFium is C++ and the
    files are anyone's) is reported with the reason, and the others are drawn. A context manager.
    """

    def __init__(self, processes: int, ahead: int) -> None:
        self._loky = require("loky")
        self._processes = processes
        self._ahead = max(ahead, processes)
        self._pool: Any = None

    def draw(self, tasks: Iterable[DrawTask | None]) -> Iterator[DrawnPage | None]:
        """The tasks' pages in their order. None is passed through, so that tasks can be told apart in groups."""
        waiting: _Waiting = deque()
        pending = iter(tasks)
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < self._ahead:
                try:
                    task = next(pending)
                except StopIteration:
                    exhausted = True
                    break
                waiting.append((task, None if task is None else self._submit(task)))
                if task is None:
                    break  # whoever waits for the end of a group need not wait for the next one
            if waiting:
                task, future = waiting.popleft()
                yield None if task is None or future is None else self._result(task, future, waiting)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None

    def __enter__(self) -> PageDrawer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, task: DrawTask) -> Future[DrawnPage]:
        if self._pool is None:
            self._pool = self._loky.ProcessPoolExecutor(self._processes, timeout=_IDLE_S, initializer=_settle)
        try:
            future: Future[DrawnPage] = self._pool.submit(draw_page, task)
        except BrokenProcessPool as error:
            # A page ahead of this one crashed: that is found out when its turn comes.
            future = Future()
            future.set_exception(error)
        return future

    def _result(self, task: DrawTask, future: Future[DrawnPage], waiting: _Waiting) -> DrawnPage:
        try:
            return future.result()
        except BrokenProcessPool:
            drawn = self._draw_alone(task)
            # The crash took other tasks with it.
            for place, (other, given) in enumerate(waiting):
                if other is not None and given is not None and not _is_drawn(given):
                    waiting[place] = (other, self._submit(other))
            return drawn

    def _draw_alone(self, task: DrawTask) -> DrawnPage:
        """In a fresh pool with nothing beside it: if that crashes too, it is this page's doing."""
        self.close()
        try:
            return self._submit(task).result()
        except BrokenProcessPool:
            self.close()
            return DrawnPage(task, None, problem="the process that draws it crashed on it")


def draw_page(task: DrawTask) -> DrawnPage:
    """Draw one page and keep its picture if that is wanted; a page that cannot be drawn says why.

    Raises:
        OSError: the picture cannot be written.
    """
    try:
        picture = task.drawing.draw(task.path, task.media_type, task.page, hold=True)
        content = b"" if task.keep_in is None else encoded(picture, task.settings)
    except RagkitError as error:
        return DrawnPage(task, None, problem=str(error))
    except Exception as error:
        return DrawnPage(task, None, problem=f"{type(error).__name__}: {error}")
    name = "" if task.keep_in is None else keep(task.keep_in, content, task.settings)
    return DrawnPage(task, picture, name)


def num_processes(settings: PagesConfig) -> int:
    """`pages.render_processes`, or one less than there are cores."""
    return settings.render_processes or max(1, num_cores() - 1)


def _is_drawn(future: Future[DrawnPage]) -> bool:
    return future.done() and future.exception() is None


def _settle() -> None:
    """What each drawing process begins with."""
    # Ctrl-C reaches every process of the terminal; the one that indexes decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """One that waits to hand over a picture when its parent is killed would wait for ever."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
