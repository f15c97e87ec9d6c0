from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ragkit.serve.stores.index_process import IndexProcess, Limits


class _Stdin:
    def write(self, _: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


class _Running:
    """A process that was started and says nothing by itself."""

    stdin, returncode = _Stdin(), None


@pytest.mark.parametrize("steps", range(6))
def test_a_cancellation_that_comes_with_a_message_is_not_lost(steps: int) -> None:
    async def cancelled() -> bool:
        process: Any = IndexProcess({})
        process._process = _Running()
        heard: list[object] = []
        job = asyncio.create_task(process.do({"job": 1}, Limits(60, 0), heard.append, unwanted=lambda: False))
        await asyncio.sleep(0.01)
        facts = {"stage": "reading", "pages_done": 1, "pages": 2, "passages_done": 0, "passages": 0}
        process._heard.put_nowait({"job": 1, **facts})
        for _ in range(steps):
            await asyncio.sleep(0)
        job.cancel()
        await asyncio.wait({job}, timeout=1)
        is_over = job.done() and job.cancelled()
        job.cancel()
        return is_over

    assert asyncio.run(cancelled())
