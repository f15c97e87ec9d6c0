from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import httpx
import openai
import pytest

from ragkit.serve.api.app import create_app
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.admission import Admission, asks
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary, running, wait_until

QUESTION: Any = [{"role": "user", "content": "How deep is Lake Ohm?"}]


def test_places_are_given_in_the_order_of_coming() -> None:
    async def run() -> list[str]:
        admission, order = Admission(1, 3, 10), []
        assert admission.try_enter()
        assert not admission.try_enter()

        async def one(name: str) -> None:
            await admission.wait()
            order.append(name)
            admission.leave()

        tasks = [asyncio.create_task(one(name)) for name in "abc"]
        await asyncio.sleep(0)
        assert (admission.running, admission.waiting) == (1, 3)
        # Nobody overtakes those who wait.
        assert not admission.try_enter()
        admission.leave()
        await asyncio.gather(*tasks)
        assert (admission.running, admission.waiting) == (0, 0)
        return order

    assert asyncio.run(run()) == ["a", "b", "c"]


def test_retry_after_follows_the_service_times() -> None:
    async def run() -> None:
        admission = Admission(2, 0, 10)
        # Nothing is known yet: a second, for one that would be the first of two places' queue.
        assert admission.retry_after_s() == 1
        for _ in range(2):
            assert admission.try_enter()
        admission.leave(20.0)
        admission.leave(20.0)
        # 20 s on two places: one is free every 10 s.
        assert admission.retry_after_s() == 10
        admission.try_enter()
        admission.leave(30.0)
        # The mean moves a tenth of the way: 21 s.
        assert admission.retry_after_s() == 11
        for _ in range(100):
            admission.try_enter()
            admission.leave(1e6)
        assert admission.retry_after_s() == 60

    asyncio.run(run())


def test_a_full_queue_and_a_turn_that_does_not_come() -> None:
    async def run() -> None:
        admission = Admission(1, 1, 0.05)
        assert admission.try_enter()
        waiting = asyncio.create_task(admission.wait())
        await asyncio.sleep(0)
        with pytest.raises(HttpProblem, match="1 requests wait already") as caught:
            await admission.wait()
        assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "2"})
        with pytest.raises(HttpProblem, match="no place was free within 0.05 s"):
            await waiting
        assert (admission.running, admission.waiting) == (1, 0)

    asyncio.run(run())


@pytest.mark.parametrize("at_once", [False, True])
def test_who_gives_up_frees_the_turn(at_once: bool) -> None:
    async def run() -> None:
        admission = Admission(1, 5, 10)
        assert admission.try_enter()
        first, second = asyncio.create_task(admission.wait()), asyncio.create_task(admission.wait())
        await asyncio.sleep(0)
        if at_once:
            # The place comes and the client goes before the loop turns.
            admission.leave()
            first.cancel()
        else:
            first.cancel()
            await asyncio.sleep(0)
            assert admission.waiting == 1
            admission.leave()
        await second
        assert first.cancelled()
        assert (admission.running, admission.waiting) == (1, 0)
        admission.leave()
        assert admission.running == 0

    asyncio.run(run())


def test_what_asks() -> None:
    assert asks("POST", "/v1/chat/completions")
    assert asks("POST", "/v1/vector_stores/vs_1/search")
    assert not asks("GET", "/v1/chat/completions")
    assert not asks("GET", "/v1/vector_stores/vs_1")
    assert not asks("POST", "/v1/files")


def test_more_than_there_is_room_for_is_429(caplog: pytest.LogCaptureFixture) -> None:
    """One is worked on, one waits; the others are told when to come back, and the two get their answers."""
    engine = EchoEngine(pause_s=0.05)
    settings = ServeConfig(max_concurrent=1, max_queue=1)
    with running(create_app(FakeLibrary(FakeAnswerer("slow", engine)), settings=settings)) as address:
        statuses: list[int] = []

        def ask(stream: bool) -> None:
            body = {"model": "slow", "messages": QUESTION, "stream": stream}
            reply = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=30)
            if reply.status_code == 429:
                assert 1 <= int(reply.headers["retry-after"]) <= 60
                assert reply.json()["error"]["code"] == "server_busy"
            else:
                assert "Lake Ohm" in reply.text or "[DONE]" in reply.text
            statuses.append(reply.status_code)

        threads = [threading.Thread(target=ask, args=(i % 2 == 0,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
        assert httpx.get(f"{address}/health").status_code == 200
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
            assert client.chat.completions.create(model="slow", messages=QUESTION).choices[0].message.content


def test_who_leaves_the_queue_makes_room() -> None:
    engine = EchoEngine(pause_s=0.1)
    settings = ServeConfig(max_concurrent=1, max_queue=1)
    app = create_app(FakeLibrary(FakeAnswerer("slow", engine)), settings=settings)
    admission: Any = next(one.kwargs["admission"] for one in app.user_middleware if "admission" in one.kwargs)
    with running(app) as address:
        host, port = address.removeprefix("http://").split(":")
        body = json.dumps({"model": "slow", "messages": QUESTION, "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        whole = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        with socket.create_connection((host, int(port))) as working:
            working.sendall(whole)
            wait_until(lambda: engine.running == 1)
            with socket.create_connection((host, int(port))) as queued:
                queued.sendall(whole)
                wait_until(lambda: admission.waiting == 1)
            wait_until(lambda: admission.waiting == 0)
            assert (admission.running, engine.running) == (1, 1)
        wait_until(lambda: admission.running == 0)
        assert engine.running == 0
        # A body that never comes holds no place.
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(whole[:-5])
            reply = httpx.post(
                f"{address}/v1/chat/completions", json={"model": "slow", "messages": QUESTION}, timeout=30
            )
            assert reply.status_code == 200
