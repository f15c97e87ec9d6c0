from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ragkit.serve.engines.thread_stream import Outlet, stream_from_thread
from tests.serve.house import wait_until


def test_items_arrive_in_order_and_errors_are_raised() -> None:
    def work(outlet: Outlet[int]) -> None:
        for i in range(3):
            outlet.put(i)
        raise ValueError("after three")

    async def collect() -> list[int]:
        items = []
        with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="after three"):
            async for item in stream_from_thread(executor, work):
                items.append(item)
        return items

    assert asyncio.run(collect()) == [0, 1, 2]


def test_closing_tells_the_work_and_a_closed_loop_does_no_harm() -> None:
    ended = threading.Event()

    def work(outlet: Outlet[int]) -> None:
        outlet.put(1)
        wait_until(lambda: outlet.is_closed)
        outlet.put(2)
        ended.set()

    async def take_one(executor: ThreadPoolExecutor) -> int:
        stream = stream_from_thread(executor, work)
        item = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        return item

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(take_one(executor)) == 1
        assert ended.wait(10)


def test_work_that_still_waits_never_runs() -> None:
    gate, ran = threading.Event(), []

    async def give_up(executor: ThreadPoolExecutor) -> None:
        stream = stream_from_thread(executor, lambda _: ran.append(1))
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})

    with ThreadPoolExecutor(1) as executor:
        executor.submit(gate.wait)
        asyncio.run(give_up(executor))
        gate.set()
    assert ran == []
