"""Searches that come at the same time are done together: models embed several queries faster than one by one."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ragkit.devices import take_share
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.levels import Level

T = TypeVar("T")
# Searches of a corpus that run at once.
NUM_WORKERS = 2
# Models and databases keep memory for each thread that uses them: a few threads do all the work, those that search
# and those that go on with what was found.
_NUM_THREADS = NUM_WORKERS + 6

SearchMany = Callable[[Sequence[Query], int, Level, Filter | None], list[list[Hit]]]


@dataclass(frozen=True, slots=True)
class _Group:
    """What one search can be asked for. where: by text, for 1 and True are equal, and filters of them are not."""

    k: int
    level: Level
    where: str


@dataclass(eq=False, slots=True)
class _Waiting:
    """One query, and what is to be done with its hits."""

    query: Query
    group: _Group
    where: Filter | None
    then: Callable[[list[Hit]], Any]
    future: Future[Any] = field(default_factory=Future)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def finish(self, found: list[Hit] | BaseException) -> None:
        """Go on with the hits, or with the error of the search."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            if isinstance(found, BaseException):
                raise found
            result = self.context.run(self.then, found)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class SearchBatches:
    """Joins the queries of many callers, none of which need a thread to wait in.

    A query that comes while less than `num_workers` searches run is searched at once; those that come meanwhile
    wait, and are then searched together.

    Args:
        search_many: the hits of each query; as good for many as for one.
        max_queries: of one search.
    """

    def __init__(self, search_many: SearchMany, num_workers: int = NUM_WORKERS, max_queries: int = 16) -> None:
        self._search_many = search_many
        self._num_workers = num_workers
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "ragkit-search")
        self._max_queries = max_queries
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._running = 0

    def submit(
        self, query: Query, k: int, level: Level, where: Filter | None, then: Callable[[list[Hit]], T]
    ) -> Future[T]:
        """What `then` makes of the hits of one query, which is searched alone or with others.

        `then` is called in a thread that may wait, behind the search and in the caller's context. The future has
        the error of the search, or of `then`. A query that is cancelled while it waits is not searched.
        """
        one = _Waiting(query, _Group(k, level, repr(where)), where, then)
        with self._lock:
            self._waiting.append(one)
            if self._running == self._num_workers:
                return one.future
            self._running += 1
        self._threads.submit(self._take_turn)
        return one.future

    def _take_turn(self) -> None:
        """Search those that have waited longest, leave the turn to others, and go on with what was found."""
        take_share()
        try:
            batch = self._batch()
            found = self._found(batch)
        finally:
            self._leave_turn()
        for one, hits in zip(batch[1:], found[1:], strict=True):
            self._threads.submit(one.finish, hits)
        # In this thread, for to wake another one takes as long as many a search.
        for one, hits in zip(batch[:1], found[:1], strict=True):
            one.finish(hits)

    def _leave_turn(self) -> None:
        with self._lock:
            if not self._waiting:
                self._running -= 1
                return
        self._threads.submit(self._take_turn)

    def _batch(self) -> list[_Waiting]:
        """The query that has waited longest and those of its kind; none where all were cancelled."""
        with self._lock:
            self._waiting = [one for one in self._waiting if not one.future.cancelled()]
            alike = [one for one in self._waiting if one.group == self._waiting[0].group][: self._max_queries]
            taken = set(map(id, alike))
            self._waiting = [one for one in self._waiting if id(one) not in taken]
        return alike

    def _found(self, batch: Sequence[_Waiting]) -> list[list[Hit] | BaseException]:
        """The hits of each. What one query breaks is not the others' fault: they are searched alone."""
        if not batch:
            return []
        first = batch[0]
        try:
            queries = [one.query for one in batch]
            return [*self._search_many(queries, first.group.k, first.group.level, first.where)]
        except BaseException as error:
            if len(batch) == 1 or not isinstance(error, Exception):
                return [error] * len(batch)
            return [self._found([one])[0] for one in batch]
