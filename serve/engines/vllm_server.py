"""vLLM's own server as a child of this process: started, watched, started again after a crash, ended."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from ragkit.errors import ConfigError, EngineError
from ragkit.serve.engines import process_guard
from ragkit.serve.engines.upstream_errors import http_library, shown_name

State = Literal["starting", "running", "restarting", "given up", "ended"]

_MODULE = "vllm.entrypoints.openai.api_server"
# Its own environment is not ours.
_OUR_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
_OURS = ("--model", "--host", "--port", "--uds", "--api-key")
_NAME_FLAG = "--served-model-name"
_TAIL_LINES = 40
_PROBE_S = 0.2


@dataclass(frozen=True, slots=True)
class Patience:
    """start_s: until the model is loaded. A crash within quick_s of the server's being well is a quick one; after
    most_quick of them in a row it is given up. first_pause_s: before it is started again, doubling up to
    longest_s. end_s: from asking it to end to killing it.
    """

    start_s: float = 1800
    quick_s: float = 60
    most_quick: int = 5
    first_pause_s: float = 1
    longest_s: float = 30
    end_s: float = 15

    def pause_s(self, quick: int) -> float:
        """After so many quick crashes in a row."""
        return float(min(self.longest_s, self.first_pause_s * 2 ** max(0, quick - 1)))


@dataclass(eq=False)
class _Run:
    """One life of the server."""

    process: subprocess.Popen[bytes]
    port: int
    tail: deque[str]
    reader: threading.Thread
    well_since: float | None = None


@dataclass(eq=False)
class VllmServer:
    """`python -m vllm.entrypoints.openai.api_server --model MODEL` on a free port of 127.0.0.1.

    It ends with this process, whatever way that ends. Its log is passed on to `log`, line by line.

    Args:
        python: of the environment that vLLM is installed in.
        arguments: further ones of its command line.
        on_start: called with its address whenever it is well, before `state` says so.
        command: what to run in the place of vLLM, given the same arguments.
    """

    model: str
    python: Path
    arguments: Sequence[str] = ()
    on_start: Callable[[str], None] = lambda _: None
    log: Callable[[str], None] = lambda line: print(f"vllm | {line}", file=sys.stderr, flush=True)  # noqa: T201
    patience: Patience = field(default_factory=Patience)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ("-m", _MODULE)

    def __post_init__(self) -> None:
        if wrong := [argument for argument in self.arguments if argument.split("=")[0] in _OURS]:
            raise ConfigError(f"generation.vllm_args has {wrong[0]!r}; ragkit gives {', '.join(_OURS)} itself")
        self.key = secrets.token_urlsafe(24)
        self.state: State = "starting"
        self._ending = threading.Event()
        self._run: _Run | None = None
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    @property
    def name(self) -> str:
        """What the model is called: by its folder where it is one, unless the arguments say."""
        own = Path(self.model).resolve().name if Path(self.model).is_dir() else shown_name(self.model)
        return _value_of(_NAME_FLAG, self.arguments) or own

    @property
    def pid(self) -> int | None:
        """Of the guard, whose only child is the server; None where there is none."""
        return None if self._run is None else self._run.process.pid

    def start(self) -> None:
        """Wait until the server is well.

        Raises:
            ConfigError: there is no such Python.
            EngineError: it ended first, or took too long; the message ends with the last lines of its log.
        """
        if not os.access(self.python, os.X_OK):
            raise ConfigError(
                f"--vllm-python {self.python} is no program; give the Python that vLLM is installed in"
            )
        try:
            run = self._launch()
            if not self._wait_until_well(run):
                raise EngineError(self._why(run))
        except BaseException:
            self.stop()
            raise
        self.state = "running"
        self._watcher = threading.Thread(target=self._watch, name="vllm-watcher", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._ending.set()
        with self._lock:
            run = self._run
            if run is not None:
                self._end(run)
        if self._watcher is not None:
            self._watcher.join()
        self.state = "ended"

    def _watch(self) -> None:
        """Until the end: wait for a crash, then start it again after a while."""
        quick = 0
        while (run := self._run) is not None:
            run.process.wait()
            _close(run)
            if self._ending.is_set():
                return
            lived = 0.0 if run.well_since is None else time.monotonic() - run.well_since
            quick = quick + 1 if lived < self.patience.quick_s else 1
            self.log(f"ended with status {run.process.returncode}")
            if quick >= self.patience.most_quick:
                self.state = "given up"
                self.log(f"given up after {quick} crashes in a row")
                return
            self.state = "restarting"
            if self._ending.wait(self.patience.pause_s(quick)):
                return
            with self._lock:
                if self._ending.is_set():
                    return
                try:
                    run = self._launch()
                except OSError as error:
                    # No memory or no files for a process now: it is tried again after the next pause.
                    self.log(f"cannot be started: {error}")
                    continue
            if self._wait_until_well(run):
                self.state = "running"
            else:
                self._end(run)

    def _launch(self) -> _Run:
        port = _free_port()
        command = [str(self.python), *self.command, *self._options(port), *self.arguments]
        script = [sys.executable, "-I", process_guard.__file__, str(os.getpid()), str(self.patience.end_s)]
        process = subprocess.Popen(
            [*script, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        reader = threading.Thread(target=self._pass_on, args=(process.stdout, tail), daemon=True)
        reader.start()
        self._run = _Run(process, port, tail, reader)
        return self._run

    def _options(self, port: int) -> list[str]:
        names = [] if _value_of(_NAME_FLAG, self.arguments) else [_NAME_FLAG, self.name]
        return ["--model", self.model, *names, "--host", "127.0.0.1", "--port", str(port)]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OUR_PYTHON}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.environment, "VLLM_API_KEY": self.key}

    def _pass_on(self, lines: IO[bytes], tail: deque[str]) -> None:
        """Also when nobody reads it any more: a full pipe would stop the server."""
        with lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                tail.append(text)
                with suppress(OSError, ValueError):
                    self.log(text)

    def _wait_until_well(self, run: _Run) -> bool:
        """False where it ended first, took too long, or is not wanted any more."""
        http = http_library()
        ends = time.monotonic() + self.patience.start_s
        with http.Client(timeout=5, trust_env=False) as client:
            while time.monotonic() < ends and run.process.poll() is None:
                with suppress(http.HTTPError):
                    if client.get(f"http://127.0.0.1:{run.port}/health").status_code == 200:
                        run.well_since = time.monotonic()
                        self.on_start(f"http://127.0.0.1:{run.port}/v1")
                        return True
                if self._ending.wait(_PROBE_S):
                    return False
        return False

    def _end(self, run: _Run) -> None:
        """The guard does it when its pipe closes."""
        _close(run)
        try:
            run.process.wait(self.patience.end_s + 5)
        except subprocess.TimeoutExpired:
            # SIGTERM it ignores; its child dies with it.
            run.process.send_signal(signal.SIGKILL)
            run.process.wait()
        run.reader.join(1)

    def _why(self, run: _Run) -> str:
        code = run.process.poll()
        run.reader.join(1)
        how = f"is not well after {self.patience.start_s:g} s" if code is None else f"ended with status {code}"
        log = "\n".join(run.tail)
        return f"vLLM's server for {self.model} {how}; the end of its log:\n{log}"


def _close(run: _Run) -> None:
    assert run.process.stdin is not None
    with suppress(OSError):
        run.process.stdin.close()


def _value_of(flag: str, arguments: Sequence[str]) -> str:
    """What follows the flag, or stands behind its "="; "" where it is not there."""
    for place, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
        if argument == flag and place + 1 < len(arguments):
            return arguments[place + 1]
    return ""


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
