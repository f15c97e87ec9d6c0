from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ragkit.records import Readiness
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from tests.serve.house import FakeAnswerer, FakeLibrary, running, wait_until


@dataclass
class FakeUpstream:
    found: Readiness
    wait_s: float = 0

    async def readiness(self) -> Readiness:
        await asyncio.sleep(self.wait_s)
        return self.found


GOOD = FakeUpstream(Readiness("m", True, "ready"))
BAD = FakeUpstream(Readiness("n", False, "cannot be reached"))
OPEN = FakeUpstream(Readiness("o", False, "failed too often", 6.4))


def get(path: str, *upstreams: FakeUpstream) -> httpx.Response:
    app = create_app(FakeLibrary(FakeAnswerer("papers", EchoEngine())), upstreams=upstreams)
    with running(app) as address:
        return httpx.get(f"{address}{path}")


@pytest.mark.parametrize(
    ("upstreams", "status", "states", "retry_after"),
    [
        ((), 200, [], None),
        ((GOOD,), 200, ["ready"], None),
        ((GOOD, BAD), 503, ["ready", "cannot be reached"], None),
        ((OPEN, GOOD), 503, ["failed too often", "ready"], "7"),
    ],
)
def test_ready_says_what_each_upstream_says(
    upstreams: Any, status: int, states: list[str], retry_after: str | None
) -> None:
    reply = get("/ready", *upstreams)
    assert reply.status_code == status
    assert reply.json()["status"] == ("ready" if status == 200 else "not ready")
    assert [engine["state"] for engine in reply.json()["engines"]] == states
    assert reply.headers.get("retry-after") == retry_after
    assert get("/health", *upstreams).json() == {"status": "ok"}


def test_an_upstream_that_does_not_say_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.serve.api.health_routes._PATIENCE_S", 0.1)
    reply = get("/ready", FakeUpstream(GOOD.found, wait_s=5))
    assert (reply.status_code, reply.json()["engines"][0]["ready"]) == (503, False)
    assert reply.elapsed.total_seconds() < 3


def test_the_log_tells_at_the_start_what_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ragkit.serve")
    app = create_app(FakeLibrary(FakeAnswerer("papers", EchoEngine())), upstreams=(GOOD, BAD))
    with running(app):
        wait_until(lambda: len(caplog.messages) >= 2)
    assert caplog.messages == [
        "the engine m is ready",
        "the engine n is not ready: cannot be reached; questions fail until it is",
    ]
