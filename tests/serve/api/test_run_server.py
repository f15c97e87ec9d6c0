from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.corpus import Corpus
from ragkit.records import TextRecord
from tests.processes import children
from tests.vllm.served import wait_until
from tests.warm_python import SERVER, WarmProcess, WarmPython

FAILING = """
import socket
from contextlib import asynccontextmanager
from fastapi import FastAPI
from ragkit.serve.api.app import run_server
from ragkit.errors import RagkitError
from tests.warm_python import SERVER, WarmPython

@asynccontextmanager
async def lifespan(app):
    raise RuntimeError("no disk")
    yield

with socket.socket() as bound:
    bound.bind(("127.0.0.1", 0))
    try:
        run_server(FastAPI(lifespan=lifespan), [bound])
    except RagkitError as error:
        print(error)
"""


def test_a_server_that_does_not_start_is_an_error(warm_python: WarmPython) -> None:
    done = warm_python.run(["-c", FAILING], libraries=SERVER)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the server did not start; its log says why\n"
    assert "no disk" in done.stderr


ENDING = """
import socket
import sys
from ragkit.records import ChatDelta
from ragkit.serve.api.app import create_app, run_server
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.server_end import ServerEnd
from tests.serve.house import FakeAnswerer, FakeLibrary

class Endless(EchoEngine):
    async def stream(self, request):
        while True:
            yield ChatDelta("much " * 100_000)

end = ServerEnd(5.0, lambda: print("over", flush=True))
engines = {"soon": EchoEngine(pause_s=0.1), "late": EchoEngine(pause_s=1), "endless": Endless()}
library = FakeLibrary(*(FakeAnswerer(name, engine) for name, engine in engines.items()))
with socket.socket() as bound:
    bound.bind(("127.0.0.1", 0))
    bound.listen()
    print(bound.getsockname()[1], flush=True)
    run_server(create_app(library, end=end), [bound], end=end)
"""


def wait_until_in_flight(client: httpx.Client, number: int) -> None:
    """Until the server is at so many requests, the one that asks for it included."""

    def metrics() -> str:
        return client.get("/metrics").text

    wait_until(lambda: f"ragkit_requests_in_flight {number}.0" in metrics(), 20, metrics)


def body_of(model: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "How deep is Lake Ohm?"}], "stream": stream}


def test_what_is_soon_answered_is_still_answered_by_a_server_that_ends(warm_python: WarmPython) -> None:
    def ask(client: httpx.Client, model: str, stream: bool) -> str:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "How deep is Lake Ohm?"}],
            "stream": stream,
        }
        reply = client.post("/v1/chat/completions", json=body)
        assert reply.status_code == (503 if (model, stream) == ("late", False) else 200)
        return reply.text

    asked = [(model, stream) for model in ("soon", "late") for stream in (False, True)]
    with warm_python.start(["-c", ENDING], libraries=SERVER) as process:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        with (
            httpx.Client(base_url=address, timeout=60) as client,
            # One that asks and does not read.
            client.stream("POST", "/v1/chat/completions", json=body_of("endless", True)),
            ThreadPoolExecutor() as clients,
        ):
            waiting = [clients.submit(ask, client, *one) for one in asked]
            wait_until_in_flight(client, 6)
            process.send_signal(signal.SIGINT)
            soon, soon_stream, late, late_stream = (one.result() for one in waiting)
            assert process.wait() == 0
        assert set(process.stdout.read().split()) == {"over"}
    assert "error" not in json.loads(soon)
    assert soon_stream.endswith("data: [DONE]\n\n")
    for text in (late, late_stream):
        assert "server_ending" in text
        assert "the answer was not there within 5 s" in text


def command_of(folder: Path, *options: str) -> tuple[list[str], int]:
    """What serves a corpus, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ["-m", "ragkit", "serve", "--corpus", str(folder), "--port", str(port), *options], port


@contextmanager
def served(folder: Path, warm_python: WarmPython, *options: str) -> Iterator[tuple[WarmProcess, Path, str]]:
    """A server of a corpus, once it answers, its log, and its address."""
    command, port = command_of(folder, *options)
    log = folder.with_suffix(".log")
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/health").status_code == 200
        except httpx.TransportError:
            return False

    with log.open("wb") as out, warm_python.start(command, libraries=SERVER, error=out) as process:
        try:
            wait_until(answers, 250, lambda: log.read_text("utf-8"))
            yield process, log, address
        except BaseException:
            process.kill()
            raise


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_a_server_quietly(
    ending: signal.Signals, tmp_path: Path, warm_python: WarmPython
) -> None:
    folder = tmp_path / "papers"
    with Corpus.open(folder, config={"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}) as corpus:
        corpus.add([TextRecord("a", "The crane was greased.")])
    with served(folder, warm_python) as (process, log, _):
        process.send_signal(ending)
        assert process.wait() == 0
    assert "Traceback" not in log.read_text("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_sigterm_ends_what_the_server_started_also_where_that_hangs(
    tmp_path: Path, warm_python: WarmPython
) -> None:
    folder = tmp_path / "papers"
    with Corpus.open(folder) as corpus:
        corpus.add([TextRecord("a", "The crane was greased.")])
    with served(folder, warm_python) as (process, _, _):
        (embedding,) = children("embedding_worker", process.pid)
        os.kill(embedding, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not Path(f"/proc/{embedding}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_server_ends_also_while_questions_wait_for_a_model_that_hangs(
    tmp_path: Path, warm_python: WarmPython
) -> None:
    folder, config = tmp_path / "papers", tmp_path / "short.toml"
    config.write_text("[serve]\nshutdown_timeout_s = 1.5\n", "utf-8")
    with Corpus.open(folder) as corpus:
        corpus.add([TextRecord("a", "The crane was greased.")])
    asked = {
        "chat/completions": {"model": "papers", "messages": [{"role": "user", "content": "Was it greased?"}]},
        "embeddings": {"model": "papers", "input": "Was it greased?"},
        "responses": {"model": "papers", "input": "Was it greased?"},
    }
    with (
        served(folder, warm_python, "--config", str(config)) as (process, log, address),
        ThreadPoolExecutor() as clients,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        (embedding,) = children("embedding_worker", process.pid)
        os.kill(embedding, signal.SIGSTOP)
        waiting = [clients.submit(client.post, f"/v1/{path}", json=body) for path, body in asked.items()]
        wait_until_in_flight(client, 4)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert 1.5 <= time.monotonic() - began < 15
        assert not Path(f"/proc/{embedding}").exists()
        for one in waiting:
            assert one.result().status_code == 503
            assert one.result().json()["error"]["code"] == "server_ending"
    assert "Traceback" not in log.read_text("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_sigterm_ends_a_server_that_waits_for_a_model_that_does_not_load(
    tmp_path: Path, warm_python: WarmPython
) -> None:
    folder = tmp_path / "papers"
    with Corpus.open(folder) as corpus:
        corpus.add([TextRecord("a", "The crane was greased.")])
    command, _ = command_of(folder)
    log = tmp_path / "log.txt"
    with log.open("wb") as out, warm_python.start(command, libraries=SERVER, error=out) as process:
        wait_until(lambda: children("embedding_worker", process.pid), 250, lambda: log.read_text("utf-8"))
        (embedding,) = children("embedding_worker", process.pid)
        os.kill(embedding, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert not Path(f"/proc/{embedding}").exists()
    assert "Traceback" not in log.read_text("utf-8")
