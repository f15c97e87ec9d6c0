from __future__ import annotations

import asyncio
import contextvars
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from ragkit.filter_text import parse_filter
from ragkit.hosting import search_batches
from ragkit.hosting.search_batches import SearchBatches
from ragkit.records import Filter, Hit, Passage, Query
from ragkit.retrievers.levels import Level
from tests.serve.house import wait_until

Asked = tuple[str, int, Level, Filter | None]


class Search:
    """The one hit of a query says what was asked; "bad" cannot be searched. Those of "held" wait for `go_on`."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.batches: list[list[str]] = []
        self.running = self.most_running = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._pause_s = pause_s
        self._lock = threading.Lock()

    def __call__(self, queries: Sequence[Query], k: int, level: Level, where: Filter | None) -> list[list[Hit]]:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.batches.append([query.text for query in queries])
        self.begun.set()
        time.sleep(self._pause_s)
        if queries[0].text == "held":
            assert self.go_on.wait(20)
        with self._lock:
            self.running -= 1
        if any(query.text == "bad" for query in queries):
            raise ValueError("bad query")
        texts = [f"{query.text}|{k}|{level}|{where!r}" for query in queries]
        return [[Hit(1.0, Passage(1, "d", 1, 0, len(text), text))] for text in texts]


def ask(
    batches: SearchBatches, text: str, k: int = 1, level: Level = "passage", where: Filter | None = None
) -> Future[str]:
    return batches.submit(Query(text), k, level, where, lambda hits: hits[0].passage.text)


def outcome(future: Future[str]) -> str:
    """What was made of the hit, or the words of its error."""
    error = future.exception(20)
    return future.result() if error is None else str(error)


def ask_all(batches: SearchBatches, asked: Sequence[Asked]) -> list[str]:
    return [outcome(future) for future in [ask(batches, *one) for one in asked]]


def held(search: Search, num_workers: int = 1, max_queries: int = 16) -> tuple[SearchBatches, Future[str]]:
    """Batches whose only worker searches until `search.go_on`."""
    batches = SearchBatches(search, num_workers, max_queries)
    first = ask(batches, "held")
    assert search.begun.wait(20)
    return batches, first


def test_one_query_is_searched_at_once() -> None:
    search = Search()
    assert ask_all(SearchBatches(search), [("a", 3, "passage", None)]) == ["a|3|passage|None"]
    assert search.batches == [["a"]]


def test_those_that_come_meanwhile_are_searched_together() -> None:
    search = Search()
    batches, first = held(search, max_queries=4)
    names = [str(i) for i in range(7)]
    others = [ask(batches, name) for name in names]
    search.go_on.set()
    assert [outcome(one) for one in [first, *others]] == [f"{name}|1|passage|None" for name in ["held", *names]]
    assert search.batches == [["held"], ["0", "1", "2", "3"], ["4", "5", "6"]]
    assert search.most_running == 1
    assert ask_all(batches, [("again", 1, "page", None)]) == ["again|1|page|None"]


def test_only_what_is_asked_alike_is_joined() -> None:
    search = Search(0.1)
    one, true = (Filter(condition=parse_filter(text)) for text in ("a = 1", "a = true"))
    asked: list[Asked] = [
        ("q", k, level, where) for k in (1, 2) for level in ("passage", "page") for where in (None, one, true)
    ]
    got = ask_all(SearchBatches(search), asked * 2)
    assert got == [f"{text}|{k}|{level}|{where!r}" for text, k, level, where in asked * 2]
    assert all(len(batch) <= 2 for batch in search.batches)
    assert any(len(batch) == 2 for batch in search.batches)


def test_what_one_query_breaks_is_not_the_others_fault() -> None:
    search = Search()
    batches, first = held(search)
    others = [ask(batches, name) for name in ("a", "bad", "b")]
    search.go_on.set()
    assert [outcome(one) for one in [first, *others]] == [
        "held|1|passage|None",
        "a|1|passage|None",
        "bad query",
        "b|1|passage|None",
    ]
    assert search.batches[1:] == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]
    with pytest.raises(ValueError, match="bad query"):
        ask(batches, "bad").result(20)
    assert ask(batches, "c").result(20)


def test_who_goes_away_while_it_waits_is_not_searched_for() -> None:
    search = Search()
    batches, first = held(search)
    gone, kept = ask(batches, "gone"), ask(batches, "kept")
    assert gone.cancel()
    search.go_on.set()
    assert [outcome(first), outcome(kept)] == ["held|1|passage|None", "kept|1|passage|None"]
    assert search.batches == [["held"], ["kept"]]
    with pytest.raises(CancelledError):
        gone.result(0)


def test_where_all_went_away_the_next_one_is_searched() -> None:
    search = Search()
    batches, first = held(search)
    assert ask(batches, "gone").cancel()
    search.go_on.set()
    assert outcome(first)
    assert ask_all(batches, [("next", 1, "passage", None)]) == ["next|1|passage|None"]
    assert search.batches == [["held"], ["next"]]


def test_what_goes_on_with_hits_holds_up_no_search_and_keeps_its_error_to_itself() -> None:
    batches, is_searched = SearchBatches(Search(), 1), threading.Event()

    def wait(hits: list[Hit]) -> str:
        assert is_searched.wait(20)
        raise KeyError(hits[0].passage.text)

    waiting = batches.submit(Query("slow"), 1, "passage", None, wait)
    assert ask_all(batches, [("quick", 1, "passage", None)]) == ["quick|1|passage|None"]
    is_searched.set()
    assert isinstance(waiting.exception(20), KeyError)


def test_many_that_go_on_slowly_hold_up_no_search() -> None:
    search, is_searched = Search(), threading.Event()
    batches = SearchBatches(search, 1)

    def wait(hits: list[Hit]) -> bool:
        return is_searched.wait(20)

    waiting = [batches.submit(Query("slow"), 1, "passage", None, wait) for _ in range(80)]
    quick = ask(batches, "quick", k=2)
    wait_until(lambda: ["quick"] in search.batches)
    is_searched.set()
    assert all(one.result(20) for one in waiting)
    assert outcome(quick) == "quick|2|passage|None"
    wait_until(lambda: not batches._finishing)


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container has as many as it may."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_who_cannot_be_searched_for_is_told() -> None:
    batches = SearchBatches(Search(), 1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        refuse_threads(monkeypatch)
        assert outcome(ask(batches, "a")) == "can't start new thread"
    assert ask_all(batches, [("b", 1, "passage", None)]) == ["b|1|passage|None"]
    wait_until(lambda: not batches._running)


def test_where_there_are_no_more_threads_the_searching_one_goes_on_with_all() -> None:
    search, finishers = Search(), ThreadPoolExecutor(4)
    batches, first = held(search)
    others = [ask(batches, name) for name in "abc"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(search_batches, "_finishers", lambda: finishers)
        refuse_threads(monkeypatch)
        search.go_on.set()
        expected = [f"{name}|1|passage|None" for name in ("held", "a", "b", "c")]
        assert [outcome(one) for one in [first, *others]] == expected
    # What it said it could not take it takes now, to no effect.
    assert finishers.submit(lambda: "well").result(20) == "well"
    assert [outcome(one) for one in [first, *others]] == expected


def test_a_filter_without_end_is_an_error_of_its_own_query_alone() -> None:
    condition = parse_filter("a = 1")
    for _ in range(10_000):
        condition = ~condition
    search = Search()
    batches, first = held(search)
    endless, other = ask(batches, "a", where=Filter(condition=condition)), ask(batches, "b")
    search.go_on.set()
    with pytest.raises(RecursionError):
        endless.result(20)
    assert [outcome(first), outcome(other)] == ["held|1|passage|None", "b|1|passage|None"]
    wait_until(lambda: not batches._running)


def test_a_task_that_is_cancelled_leaves_the_others_alone() -> None:
    search, is_going_on, go_on = Search(), threading.Event(), threading.Event()
    batches, first = held(search)

    def wait(_: list[Hit]) -> bool:
        is_going_on.set()
        return go_on.wait(20)

    async def main() -> str:
        waiting = asyncio.ensure_future(asyncio.wrap_future(ask(batches, "gone")))
        going_on = asyncio.ensure_future(
            asyncio.wrap_future(batches.submit(Query("slow"), 2, "passage", None, wait))
        )
        kept = asyncio.wrap_future(ask(batches, "kept"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        search.go_on.set()
        await asyncio.to_thread(is_going_on.wait, 20)
        going_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going_on
        go_on.set()
        return await kept

    assert asyncio.run(main()) == "kept|1|passage|None"
    assert outcome(first) == "held|1|passage|None"
    assert all("gone" not in batch for batch in search.batches)


def test_too_few_lists_of_hits_are_an_error() -> None:
    batches = SearchBatches(lambda queries, *_: [], 1)
    assert outcome(ask(batches, "a")) == "0 lists of hits for 1 queries"


def test_what_goes_on_sees_the_context_of_who_asked() -> None:
    asker: contextvars.ContextVar[str] = contextvars.ContextVar("asker")
    batches = SearchBatches(Search(0.02), 1)

    def asked_by(name: str) -> Future[str]:
        asker.set(name)
        return batches.submit(Query(name), 1, "passage", None, lambda hits: asker.get())

    futures = [contextvars.copy_context().run(asked_by, name) for name in "abc"]
    assert [future.result(20) for future in futures] == ["a", "b", "c"]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_many_threads_each_get_their_own(num_workers: int) -> None:
    search = Search(0.001)
    batches = SearchBatches(search, num_workers, max_queries=5)
    chosen = random.Random(3)
    asked: list[Asked] = [
        ("bad" if chosen.random() < 0.1 else str(i), chosen.randint(1, 3), "passage", None) for i in range(200)
    ]
    expected = ["bad query" if text == "bad" else f"{text}|{k}|passage|None" for text, k, _, _ in asked]
    with ThreadPoolExecutor(50) as threads:
        for _ in range(3):
            assert list(threads.map(lambda one: outcome(ask(batches, *one)), asked)) == expected
    assert search.most_running <= num_workers
    assert max(map(len, search.batches)) <= 5
    assert not batches._waiting
    wait_until(lambda: batches._running == 0)
