from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import pytest

from ragkit.filter_text import parse_filter
from ragkit.hosting.search_batches import SearchBatches
from ragkit.records import Filter, Hit, Passage, Query
from ragkit.retrievers.levels import Level


class Search:
    """The one hit of a query says what was asked; "bad" cannot be searched."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.batches: list[list[str]] = []
        self.running = self.most_running = 0
        self._pause_s = pause_s
        self._lock = threading.Lock()

    def __call__(self, queries: Sequence[Query], k: int, level: Level, where: Filter | None) -> list[list[Hit]]:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.batches.append([query.text for query in queries])
        time.sleep(self._pause_s)
        with self._lock:
            self.running -= 1
        if any(query.text == "bad" for query in queries):
            raise ValueError("bad query")
        texts = [f"{query.text}|{k}|{level}|{where!r}" for query in queries]
        return [[Hit(1.0, Passage(1, "d", 1, 0, len(text), text))] for text in texts]


def ask_all(batches: SearchBatches, asked: Sequence[tuple[str, int, Level, Filter | None]]) -> list[str]:
    """What each thread got: its hit's text, or its error's."""
    got = [""] * len(asked)

    def one(place: int) -> None:
        text, k, level, where = asked[place]
        try:
            got[place] = batches.search(Query(text), k, level, where)[0].passage.text
        except ValueError as error:
            got[place] = str(error)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return got


def test_one_query_is_searched_at_once() -> None:
    search = Search()
    assert ask_all(SearchBatches(search), [("a", 3, "passage", None)]) == ["a|3|passage|None"]
    assert search.batches == [["a"]]


def test_those_that_come_meanwhile_are_searched_together() -> None:
    search = Search(0.2)
    batches = SearchBatches(search, 1, max_queries=4)
    names = [str(i) for i in range(8)]
    assert ask_all(batches, [(name, 3, "page", None) for name in names]) == [f"{n}|3|page|None" for n in names]
    assert [len(batch) for batch in search.batches] == [1, 4, 3]
    assert search.most_running == 1
    assert ask_all(batches, [("again", 1, "page", None)]) == ["again|1|page|None"]


def test_only_what_is_asked_alike_is_joined() -> None:
    search = Search(0.1)
    one, true = (Filter(condition=parse_filter(text)) for text in ("a = 1", "a = true"))
    asked: list[tuple[str, int, Level, Filter | None]] = [
        ("q", k, level, where) for k in (1, 2) for level in ("passage", "page") for where in (None, one, true)
    ]
    got = ask_all(SearchBatches(search), asked * 2)
    assert got == [f"{text}|{k}|{level}|{where!r}" for text, k, level, where in asked * 2]
    assert all(len(batch) <= 2 for batch in search.batches)


def test_what_one_query_breaks_is_not_the_others_fault() -> None:
    search = Search(0.1)
    batches = SearchBatches(search, 1)
    names = ["first", "a", "bad", "b"]
    assert ask_all(batches, [(name, 1, "passage", None) for name in names]) == [
        "first|1|passage|None",
        "a|1|passage|None",
        "bad query",
        "b|1|passage|None",
    ]
    with pytest.raises(ValueError, match="bad query"):
        batches.search(Query("bad"), 1, "passage", None)
    assert batches.search(Query("c"), 1, "passage", None)


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_many_threads_each_get_their_own(num_workers: int) -> None:
    search = Search(0.001)
    batches = SearchBatches(search, num_workers, max_queries=5)
    chosen = random.Random(3)
    asked: list[tuple[str, int, Level, Filter | None]] = [
        ("bad" if chosen.random() < 0.1 else str(i), chosen.randint(1, 3), "passage", None) for i in range(200)
    ]
    expected = ["bad query" if text == "bad" else f"{text}|{k}|passage|None" for text, k, _, _ in asked]
    for _ in range(3):
        assert ask_all(batches, asked) == expected
    assert search.most_running <= num_workers
    assert max(map(len, search.batches)) <= 5
    assert batches._running == 0
    assert not batches._waiting
