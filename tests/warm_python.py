"""Python commands in processes of their own that find their libraries imported.

Importing is most of what a short command takes: a second for ragkit, many for sentence-transformers. One process
imports and runs nothing; every command is a fork of it.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[1]
LIBRARIES = ("ragkit.cli", "ragkit.corpus", "faiss", "tests.fakes")
# For commands that load a model. What was imported once stays so for all that come after.
MODELS = ("openai", "torch", "sentence_transformers")
SERVER = ("ragkit.serve.api.app", "ragkit.hosting.library")
_AT_ONCE = 1 << 16


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class WarmPython:
    """Runs `python -m module …` and `python -c code …` for tests, with the environment of the moment."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_python", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.wait()

    def start(
        self,
        arguments: Sequence[str],
        folder: Path = ROOT,
        libraries: Sequence[str] = (),
        error: IO[Any] | None = None,
    ) -> WarmProcess:
        """Its output can be read while it runs.

        Args:
            arguments: what stands after `python`.
            folder: where it runs.
            libraries: what it finds imported beside `LIBRARIES`.
            error: where its stderr goes, if not where that of the tests does.
        """
        reads, writes = os.pipe()
        with open(os.devnull, "rb") as nothing, os.fdopen(writes, "wb"):
            files = [nothing.fileno(), writes, 2 if error is None else error.fileno()]
            pid = self._fork(arguments, folder, libraries, files)
        return WarmProcess(self, pid, os.fdopen(reads, encoding="utf-8"))

    def run(
        self, arguments: Sequence[str], folder: Path = ROOT, libraries: Sequence[str] = (), told: str = ""
    ) -> Done:
        """What it has said when it has ended. told: its stdin."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as error,
        ):
            given.write(told.encode())
            given.seek(0)
            files = [file.fileno() for file in (given, out, error)]
            status = self.wait(self._fork(arguments, folder, libraries, files))
            said = []
            for file in (out, error):
                file.seek(0)
                said.append(file.read().decode())
        return Done(status, *said)

    def wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def _fork(self, arguments: Sequence[str], folder: Path, libraries: Sequence[str], files: Sequence[int]) -> int:
        request = {"arguments": list(arguments), "folder": str(folder), "libraries": [*LIBRARIES, *libraries]}
        return self._ask({**request, "environment": dict(os.environ)}, files)

    def _ask(self, request: Mapping[str, object], files: Sequence[int] = ()) -> int:
        said = json.dumps(request).encode() + b"\n"
        socket.send_fds(self._socket, [said[:1]], files)
        self._socket.sendall(said[1:])
        answer = self._socket.recv(_AT_ONCE)
        assert answer, "the process that is forked has ended"
        return int(answer)


class WarmProcess:
    """A command that was started. As a context manager it waits for its end, as `subprocess.Popen` does."""

    def __init__(self, python: WarmPython, pid: int, stdout: IO[str]) -> None:
        self._python = python
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Nothing happens if its end was waited for."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its status; below zero the signal that ended it."""
        if self.returncode is None:
            self.returncode = self._python.wait(self.pid)
        return self.returncode

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stdout.close()
        self.wait()


def _serve(asked: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for every command that is asked for; the command, in its fork, and None when no more will come."""
    while True:
        said, files, _, _ = socket.recv_fds(asked, 1, 3)
        if not said:
            return None
        while not said.endswith(b"\n"):
            said += asked.recv(_AT_ONCE)
        request = json.loads(said)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            for library in request["libraries"]:
                importlib.import_module(library)
            answer = os.fork()
            if answer == 0:
                return request, files
        for file in files:
            os.close(file)
        asked.send(str(answer).encode())


def _become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"], PYTHONPATH=str(ROOT))
    os.chdir(request["folder"])
    # What a shell starts in the background inherits that Ctrl-C is ignored; tests may run so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    flag, what, *rest = request["arguments"]
    sys.argv = [what if flag == "-m" else flag, *rest]
    if flag == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        wanted = _serve(channel)
    if wanted is not None:
        _become(*wanted)
