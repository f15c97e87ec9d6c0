"""Searches that come at the same time are done together: models embed several queries faster than one by one."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

from ragkit.devices import take_share
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.levels import Level

T = TypeVar("T")
# They wait more than they work: as many as may be joined, and those that come meanwhile.
_NUM_THREADS = 64
# Searches of a corpus that run at once.
NUM_WORKERS = 2

SearchMany = Callable[[Sequence[Query], int, Level, Filter | None], list[list[Hit]]]


@dataclass(frozen=True, slots=True)
class _Group:
    """What one search can be asked for. where: by text, for 1 and True are equal, and filters of them are not."""

    k: int
    level: Level
    where: str


@dataclass(eq=False, slots=True)
class _Waiting:
    """One query. woken: it has hits or an error, or its thread is to search (`leads`)."""

    query: Query
    group: _Group
    where: Filter | None
    woken: threading.Event = field(default_factory=threading.Event)
    hits: list[Hit] | None = None
    error: BaseException | None = None
    leads: bool = False


class SearchBatches:
    """Joins the queries of many threads.

    A query that comes while less than `num_workers` searches run is searched at once; those that come meanwhile
    wait, and are then searched together.

    Args:
        search_many: the hits of each query; as good for many as for one.
        max_queries: of one search.
    """

    def __init__(self, search_many: SearchMany, num_workers: int = NUM_WORKERS, max_queries: int = 16) -> None:
        self._search_many = search_many
        self._num_workers = num_workers
        # Models and databases keep memory for each thread that uses them: a few threads do all the work.
        self._workers = ThreadPoolExecutor(num_workers, "ragkit-search-worker")
        self._max_queries = max_queries
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._running = 0

    def search(self, query: Query, k: int, level: Level, where: Filter | None) -> list[Hit]:
        """The hits of one query, searched alone or with others; raises what the search of it raises."""
        one = _Waiting(query, _Group(k, level, repr(where)), where)
        with self._lock:
            one.leads = self._running < self._num_workers
            if one.leads:
                self._running += 1
            else:
                self._waiting.append(one)
        if not one.leads:
            one.woken.wait()
        if one.leads:
            self._lead(one)
        if one.error is not None:
            raise one.error
        assert one.hits is not None
        return one.hits

    def _lead(self, own: _Waiting) -> None:
        """Search the own query with others, then leave the turn to a thread that waits."""
        try:
            self._search(self._batch(own))
        finally:
            with self._lock:
                if self._waiting:
                    heir = self._waiting.pop(0)
                    heir.leads = True
                    heir.woken.set()
                else:
                    self._running -= 1

    def _batch(self, own: _Waiting) -> list[_Waiting]:
        """The own query and those of its kind that have waited longest."""
        with self._lock:
            alike = [one for one in self._waiting if one.group == own.group][: self._max_queries - 1]
            taken = set(map(id, alike))
            self._waiting = [one for one in self._waiting if id(one) not in taken]
        return [own, *alike]

    def _search(self, batch: list[_Waiting]) -> None:
        first = batch[0]
        try:
            queries, group = [one.query for one in batch], first.group
            found = self._workers.submit(self._work, queries, group, first.where).result()
        except BaseException as error:
            self._fail(batch, error)
            return
        for one, hits in zip(batch, found, strict=True):
            one.hits = hits
            if one is not first:
                one.woken.set()

    def _work(self, queries: list[Query], group: _Group, where: Filter | None) -> list[list[Hit]]:
        take_share()
        return self._search_many(queries, group.k, group.level, where)

    def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        """What one query broke is not the others' fault: they are searched alone."""
        if len(batch) == 1 or not isinstance(error, Exception):
            for one in batch:
                one.error = error
                one.woken.set()
            return
        for one in batch:
            self._search([one])
            one.woken.set()


async def in_search_thread(work: Callable[[], T]) -> T:
    """As `asyncio.to_thread`, in threads that wait for batches, so that those of other work are free."""
    run = partial(contextvars.copy_context().run, work)
    return await asyncio.get_running_loop().run_in_executor(_threads(), run)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_NUM_THREADS, "ragkit-search")
