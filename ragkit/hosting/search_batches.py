"""Searches that come at the same time are done together: models embed several queries faster than one by one."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar

from ragkit.devices import take_share
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.levels import Level

T = TypeVar("T")
# Searches of a corpus that run at once.
NUM_WORKERS = 2
# Further threads of a corpus, so that as many that have searched may go on with what they found.
_NUM_SPARE = 2
# For all corpora: these go on with what others found. Few, for each may come to hold a connection to the database.
_NUM_FINISHERS = 8
# Likewise: these wait for models that are loaded.
_NUM_LOADERS = 64

SearchMany = Callable[[Sequence[Query], int, Level, Filter | None], list[list[Hit]]]


@dataclass(frozen=True, slots=True)
class _Group:
    """What one search can be asked for. where: by text, for 1 and True are equal, and filters of them are not."""

    k: int
    level: Level
    where: str


@dataclass(eq=False, slots=True)
class _Waiting:
    """One query, and what is to be done with its hits.

    group: None until a thread has had time to name it. finished: held by who finishes it.
    """

    query: Query
    k: int
    level: Level
    where: Filter | None
    then: Callable[[list[Hit]], Any]
    future: Future[Any] = field(default_factory=Future)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    group: _Group | None = None
    finished: threading.Lock = field(default_factory=threading.Lock)

    def finish(self, found: list[Hit] | BaseException) -> None:
        """Go on with the hits, or tell the error of the search; once."""
        future = self.future
        # An executor may take what it said it could not.
        if not self.finished.acquire(blocking=False) or not future.set_running_or_notify_cancel():
            return
        if isinstance(found, BaseException):
            future.set_exception(found)
            return
        try:
            future.set_result(self.context.run(self.then, found))
        except BaseException as error:
            future.set_exception(error)
            # Or the frames of the error would keep all this, and this the error.
            del self, future, found


class SearchBatches:
    """Joins the queries of many callers, none of which needs a thread to wait in.

    A query that comes while less than `num_workers` searches run is searched at once; those that come meanwhile
    wait, and are then searched together.

    Args:
        search_many: the hits of each query; as good for many as for one.
        max_queries: of one search.
    """

    def __init__(self, search_many: SearchMany, num_workers: int = NUM_WORKERS, max_queries: int = 16) -> None:
        self._search_many = search_many
        self._num_workers = num_workers
        # A few, for models and databases keep memory for each thread that uses them.
        self._workers = ThreadPoolExecutor(num_workers + _NUM_SPARE, "ragkit-search-worker")
        self._max_queries = max_queries
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._running = self._finishing = 0

    def submit(
        self, query: Query, k: int, level: Level, where: Filter | None, then: Callable[[list[Hit]], T]
    ) -> Future[T]:
        """What `then` makes of the hits of one query, which is searched alone or with others.

        `then` is called in a thread that may wait, behind the search and in the caller's context. The future has
        the error of the search, or of `then`. A query that is cancelled while it waits is not searched.
        """
        one = _Waiting(query, k, level, where, then)
        with self._lock:
            self._waiting.append(one)
            if self._running == self._num_workers:
                return one.future
        try:
            self._workers.submit(self._work)
        except RuntimeError as error:
            # Python is ending, or there may be no more threads. Whoever searches takes it all the same.
            with self._lock:
                is_left = not self._running and one in self._waiting
                if is_left:
                    self._waiting.remove(one)
            if is_left:
                one.finish(error)
        return one.future

    def _work(self) -> None:
        """Search what waits, unless as many do so as may."""
        with self._lock:
            if self._running == self._num_workers:
                return
            self._running += 1
        while batch := self._batch():
            first, *others = zip(batch, self._found(batch), strict=True)
            for one, hits in others:
                _hand_on(one, hits)
            if self._leave_turn():
                # In this thread: to wake another one may take longer.
                first[0].finish(first[1])
                with self._lock:
                    self._finishing -= 1
                return
            _hand_on(*first)

    def _leave_turn(self) -> bool:
        """Whether this thread may go on with what it found: nobody waits, and who comes finds another thread."""
        with self._lock:
            if self._waiting or self._finishing == _NUM_SPARE:
                return False
            self._running -= 1
            self._finishing += 1
            return True

    def _batch(self) -> list[_Waiting]:
        """The query that has waited longest and those of its kind; none where none waits, and the turn is left."""
        while True:
            self._name_groups()
            with self._lock:
                self._waiting = [one for one in self._waiting if not one.future.cancelled()]
                if not self._waiting:
                    self._running -= 1
                    return []
                first = self._waiting[0]
                if first.group is None:
                    continue
                alike = [one for one in self._waiting if one.group == first.group][: self._max_queries]
                taken = set(map(id, alike))
                self._waiting = [one for one in self._waiting if id(one) not in taken]
                return alike

    def _name_groups(self) -> None:
        """Outside of the lock, for which event loops wait: a filter may name very many documents."""
        with self._lock:
            unnamed = [one for one in self._waiting if one.group is None]
        for one in unnamed:
            try:
                one.group = _Group(one.k, one.level, "" if one.where is None else repr(one.where))
            except Exception as error:
                # Of a filter that is nested without end.
                with self._lock:
                    self._waiting = [other for other in self._waiting if other is not one]
                one.finish(error)

    def _found(self, batch: Sequence[_Waiting]) -> list[list[Hit] | BaseException]:
        """The hits of each. What one query breaks is not the others' fault: they are searched alone."""
        first = batch[0]
        try:
            take_share()
            found = self._search_many([one.query for one in batch], first.k, first.level, first.where)
            if len(found) != len(batch):
                raise RuntimeError(f"{len(found)} lists of hits for {len(batch)} queries")
            return [*found]
        except BaseException as error:
            if len(batch) == 1 or not isinstance(error, Exception):
                return [error] * len(batch)
            return [self._found([one])[0] for one in batch]


def _hand_on(one: _Waiting, hits: list[Hit] | BaseException) -> None:
    try:
        _finishers().submit(one.finish, hits)
    except RuntimeError:
        # Python is ending, or there may be no more threads.
        one.finish(hits)


async def in_loading_thread(work: Callable[[], T]) -> T:
    """As `asyncio.to_thread`, in threads for what may take minutes, so that those of other work are free."""
    run = partial(contextvars.copy_context().run, work)
    return await asyncio.get_running_loop().run_in_executor(_loaders(), run)


@cache
def _finishers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_NUM_FINISHERS, "ragkit-search")


@cache
def _loaders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_NUM_LOADERS, "ragkit-load")
