from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def command_of(folder: Path) -> tuple[list[str], int]:
    """What serves a corpus, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ["-m", "ragkit", "serve", "--corpus", str(folder), "--port", str(port)], port


@contextmanager
def served(folder: Path, warm_python: WarmPython) -> Iterator[tuple[WarmProcess, Path]]:
    """A server of a corpus, once it answers, and its log."""
    command, port = command_of(folder)
    log = folder.with_suffix(".log")

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        except httpx.TransportError:
            return False

    with log.open("wb") as out, warm_python.start(command, libraries=SERVER, error=out) as process:
        try:
            wait_until(answers, 250, lambda: log.read_text("utf-8"))
            yield process, log
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
    with served(folder, warm_python) as (process, log):
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
    with served(folder, warm_python) as (process, _):
        (embedding,) = children("embedding_worker", process.pid)
        os.kill(embedding, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not Path(f"/proc/{embedding}").exists()


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
