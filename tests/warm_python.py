"""Python commands in processes of their own that find the large libraries imported.

Importing torch and sentence-transformers is most of what a short command takes. One process imports them and runs
nothing; every command is a fork of it.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
LIBRARIES = ("ragkit.cli", "ragkit.corpus", "faiss", "openai", "torch", "sentence_transformers")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class WarmPython:
    """Runs `python -m module …` and `python -c code …` for tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = [sys.executable, "-m", "tests.warm_python"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)  # type: ignore[call-overload]
        self._count = 0

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, arguments: Sequence[str], folder: Path) -> WarmProcess:
        """arguments: what stands after `python`; folder: where it runs."""
        self._count += 1
        told = self._folder / str(self._count)
        pid = self._ask({"arguments": list(arguments), "folder": str(folder), "told": str(told)})
        return WarmProcess(self, pid, told)

    def run(self, arguments: Sequence[str], folder: Path) -> Done:
        return self.start(arguments, folder).wait()

    def wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def _ask(self, request: dict[str, object]) -> int:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class WarmProcess:
    """A command that was started."""

    def __init__(self, python: WarmPython, pid: int, told: Path) -> None:
        self._python, self._pid, self._told = python, pid, told

    def terminate(self) -> None:
        os.kill(self._pid, signal.SIGTERM)

    def wait(self) -> Done:
        status = self._python.wait(self._pid)
        return Done(status, *(self._told.with_suffix(end).read_text("utf-8") for end in (".out", ".err")))


def _serve() -> dict[str, Any] | None:
    """Fork for every command that is asked for; the command, in its fork, and None when no more will come."""
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                return dict(request)
        print(answer, flush=True)  # noqa: T201 - the protocol
    return None


def _become(arguments: list[str], folder: str, told: str) -> None:
    for number, end in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(told + end, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    flag, what, *rest = arguments
    sys.argv = [what if flag == "-m" else flag, *rest]
    if flag == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    wanted = _serve()
    if wanted is not None:
        _become(wanted["arguments"], wanted["folder"], wanted["told"])
