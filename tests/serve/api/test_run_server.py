from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from ragkit.corpus import Corpus
from ragkit.records import TextRecord
from tests.vllm.served import wait_until

FAILING = """
import socket
from contextlib import asynccontextmanager
from fastapi import FastAPI
from ragkit.serve.api.app import run_server
from ragkit.errors import RagkitError

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


def test_a_server_that_does_not_start_is_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, check=True)
    assert done.stdout == "the server did not start; its log says why\n"
    assert "no disk" in done.stderr


def test_ctrl_c_ends_a_server_quietly(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    with Corpus.open(folder, config={"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}) as corpus:
        corpus.add([TextRecord("a", "The crane was greased.")])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log.txt"
    command = [sys.executable, "-m", "ragkit", "serve", "--corpus", str(folder), "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)

    def answers() -> bool:
        assert process.poll() is None, log.read_text("utf-8")
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, 60, lambda: log.read_text("utf-8"))
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text("utf-8")
