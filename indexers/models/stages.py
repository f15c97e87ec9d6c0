"""Embedding in two stages: the next batch is prepared in a thread while the model works on this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


def in_stages(
    items: Sequence[Item],
    size: int,
    prepare: Callable[[Sequence[Item]], Prepared],
    forward: Callable[[Prepared], Result],
    seconds: dict[str, float],
) -> Iterator[Result]:
    """For each batch of at most `size` items, in order, what `forward` makes of what `prepare` made of it.

    seconds: what each stage took is added to "preprocess" and "model"; they run side by side.
    """

    def timed(batch: Sequence[Item]) -> Prepared:
        started = time.perf_counter()
        prepared = prepare(batch)
        seconds["preprocess"] += time.perf_counter() - started
        return prepared

    for prepared in _ahead([items[start : start + size] for start in range(0, len(items), size)], timed):
        started = time.perf_counter()
        result = forward(prepared)
        seconds["model"] += time.perf_counter() - started
        yield result


def _ahead(batches: Sequence[Sequence[Item]], prepare: Callable[[Sequence[Item]], Prepared]) -> Iterator[Prepared]:
    if len(batches) < 2:
        yield from map(prepare, batches)
        return
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(prepare, batches[0])
        for batch in batches[1:]:
            ready = coming.result()
            coming = thread.submit(prepare, batch)
            yield ready
        yield coming.result()
