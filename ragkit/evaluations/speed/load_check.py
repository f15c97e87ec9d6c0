"""A server under load: what an answer costs beyond the search below it, and whether the server stays as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from ragkit.config import Config
from ragkit.errors import RagkitError
from ragkit.eval.speed.load_client import LoadPlan, LoadSeen
from ragkit.eval.speed.load_report import (
    LoadFigure,
    LoadReport,
    buckets_of,
    growth,
    histogram_bound,
    percentile,
)
from ragkit.eval.speed.timing import machine_facts
from ragkit.evaluations.speed.load_server import LoadScale, Server, make_corpus, run_load, start_server

_RESIDENT = re.compile(r"VmRSS:\s+(\d+)")
_LAG = "ragkit_event_loop_lag_seconds"
_CONFIG = '[generation]\nengine = "echo"\n'
# Told to the machine's noise: searches and answers take turns so often.
_ROUNDS = 3
_MOST_CLIENTS = 256
# A reading a second, one of which may be late.
_JUDGED_S = 590


def measure_load(scale: LoadScale, data: Path | None = None, tell: Callable[[str], None] = print) -> LoadReport:
    """Start a server with the echo engine over a made-up corpus, and put load on it from another process.

    data: where the corpus is kept for another run.

    Raises:
        RagkitError: the server or the generator ended early.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = data or Path(scratch)
        questions = make_corpus(folder / "load", scale, tell)
        (folder / "load.toml").write_text(_CONFIG, "utf-8")
        with start_server(folder) as server, _bare(folder / "load") as bare:
            check = _Check(server, bare, questions, scale, tell)
            figures = [*check.added_latency(), *check.long_run(), *check.too_many()]
    facts = {
        **machine_facts(),
        "documents": scale.documents,
        "seconds": scale.seconds,
        "clients": scale.num_clients,
        "generator": "a process of its own on the same cores",
    }
    return LoadReport(tuple(figures), facts)


class _Check:
    """The three loads, one after the other."""

    def __init__(
        self,
        server: Server,
        bare: _Bare,
        questions: tuple[str, ...],
        scale: LoadScale,
        tell: Callable[[str], None],
    ) -> None:
        self._server, self._bare, self._tell = server, bare, tell
        self._questions, self._scale = questions, scale
        self._short_s = max(scale.seconds / 10, 1.0)

    def added_latency(self) -> Iterator[LoadFigure]:
        """The median answer against the median search, at half the rate that saturates either.

        The server may stand more than bare searches do, which are not joined: near what saturates these, they wait
        for each other, and next to that an answer would seem to add nothing.
        """
        self._tell("looking for the rates that saturate the server and the bare search")
        saturated = self._load(num_clients=16, stream=False, seconds=self._short_s)
        if not saturated.per_s:
            raise RagkitError(f"the server answered nothing: {saturated.statuses} {saturated.errors[:3]}")
        searches = self._searches(num_clients=16, seconds=self._short_s)
        rate = min(saturated.per_s, searches.per_s) / 2
        self._tell(f"{saturated.per_s:.0f} answers/s and {searches.per_s:.0f} searches/s; both at {rate:.0f}/s")
        http, bare = LoadSeen(), LoadSeen()
        for turn in range(_ROUNDS):
            http.add(self._load(rate=rate, stream=False, seconds=self._short_s, seed=turn))
            bare.latencies_s += self._searches(
                rate=rate, num_clients=64, seconds=self._short_s, seed=turn
            ).latencies_s
        yield LoadFigure("saturated rate", saturated.per_s, "answers/s")
        yield LoadFigure("saturated rate of bare searches", searches.per_s, "searches/s")
        for share, name in ((0.5, "p50"), (0.95, "p95")):
            yield LoadFigure(f"answer {name} at half the lower", 1000 * percentile(http.latencies_s, share), "ms")
            yield LoadFigure(f"bare search {name} at that rate", 1000 * percentile(bare.latencies_s, share), "ms")
        added = percentile(http.latencies_s, 0.5) - percentile(bare.latencies_s, 0.5)
        yield LoadFigure("added p50", 1000 * added, "ms", "<= 5")
        # The searches beside them are made by threads of their own process: this much is the generator's share.
        generator_s = http.cpu_s / max(len(http.latencies_s), 1)
        yield LoadFigure("processor time of the generator an answer", 1000 * generator_s, "ms")

    def long_run(self) -> Iterator[LoadFigure]:
        """Streaming clients that ask on and on, against as many threads that search, before and behind."""
        num_clients, seconds = self._scale.num_clients, self._scale.seconds
        self._tell(f"{num_clients} streaming clients for {seconds:g} s, searches before and behind")
        bare_cpu_s = cpu_seconds(self._bare.pid)
        bare = [self._searches(num_clients=num_clients, seconds=max(seconds / 6, 1.0), seed=7)]
        lag = buckets_of(self._server.metrics(), _LAG)
        memory = _Memory(self._server.pid)
        cpu_s = cpu_seconds(self._server.pid)
        with memory:
            seen = self._load(num_clients=num_clients, seconds=seconds, seed=8)
        cpu_s = cpu_seconds(self._server.pid) - cpu_s
        lag_s = histogram_bound(lag, buckets_of(self._server.metrics(), _LAG), 0.999)
        bare.append(self._searches(num_clients=num_clients, seconds=max(seconds / 6, 1.0), seed=9))
        bare_cpu_s = cpu_seconds(self._bare.pid) - bare_cpu_s
        bare_per_s = sum(len(one.latencies_s) for one in bare) / sum(one.seconds for one in bare)
        for error in seen.errors[:3]:
            self._tell(error)
        yield LoadFigure("streamed answers", seen.per_s, "answers/s")
        yield LoadFigure("bare searches by as many threads", bare_per_s, "searches/s")
        yield LoadFigure("answers a bare search", seen.per_s / bare_per_s, "", ">= 0.9")
        # Of a busy machine the shares of processor time say more than the clock.
        yield LoadFigure("processor time an answer", 1000 * cpu_s / max(len(seen.latencies_s), 1), "ms")
        searches = sum(len(one.latencies_s) for one in bare)
        yield LoadFigure("processor time a bare search", 1000 * bare_cpu_s / max(searches, 1), "ms")
        yield LoadFigure("errors", sum(seen.statuses.values()) - len(seen.latencies_s), "", "= 0")
        yield LoadFigure("first text p50", 1000 * percentile(seen.first_s, 0.5), "ms")
        yield LoadFigure("event loop lag p99.9, at most", 1000 * lag_s, "ms", "<= 50")
        yield memory.growth()
        yield LoadFigure("memory", memory.last_mb(), "MB")

    def too_many(self) -> Iterator[LoadFigure]:
        """More clients than there are places: they are told to come back, and nothing breaks."""
        self._tell(f"{_MOST_CLIENTS} clients for {self._short_s:g} s")
        seen = self._load(num_clients=_MOST_CLIENTS, seconds=self._short_s, seed=10)
        broken = sum(count for status, count in seen.statuses.items() if status == 0 or status >= 500)
        yield LoadFigure(f"{_MOST_CLIENTS} clients: 200", seen.statuses.get(200, 0), "", ">= 1")
        yield LoadFigure(f"{_MOST_CLIENTS} clients: 429", seen.statuses.get(429, 0), "", ">= 1")
        yield LoadFigure(f"{_MOST_CLIENTS} clients: 5xx and broken", broken + len(seen.errors), "", "= 0")

    def _load(
        self, *, seconds: float, stream: bool = True, num_clients: int = 1, rate: float = 0, seed: int = 0
    ) -> LoadSeen:
        plan = LoadPlan(
            self._server.address,
            "load",
            self._questions,
            seconds,
            num_clients,
            rate,
            stream,
            seed + self._scale.seed,
        )
        return run_load(plan)

    def _searches(self, *, seconds: float, num_clients: int, rate: float = 0, seed: int = 0) -> LoadSeen:
        plan = LoadPlan("", "load", self._questions, seconds, num_clients, rate, False, seed + self._scale.seed)
        return self._bare.search(plan)


class _Bare:
    def __init__(self, process: subprocess.Popen[str], k: int) -> None:
        self._process, self._k = process, k
        self.pid = process.pid

    def search(self, plan: LoadPlan) -> LoadSeen:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**asdict(plan), "k": self._k}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RagkitError("the process of bare searches ended")
        return LoadSeen.from_json(line)


@contextmanager
def _bare(corpus: Path) -> Iterator[_Bare]:
    command = [sys.executable, "-m", "ragkit.evaluations.speed.load_bare", str(corpus)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _Bare(process, Config().generation.num_passages)
        finally:
            process.terminate()


def _with_children(pid: int) -> list[int]:
    """A process and those that it has started: of a server also the one that embeds."""
    found = [pid]
    # They may end while we look.
    with suppress(FileNotFoundError, ProcessLookupError):
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in tasks.read_text("utf-8").split():
                found += _with_children(int(child))
    return found


def _read_all(pid: int, name: str) -> list[str]:
    """A file of /proc, of a process and its children; of those that have ended meanwhile none."""
    texts = [Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace")]
    for child in _with_children(pid)[1:]:
        with suppress(FileNotFoundError, ProcessLookupError):
            texts.append(Path(f"/proc/{child}/{name}").read_text("utf-8", "replace"))
    return texts


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its children have had."""
    # Behind the name, which may hold anything: user and system time in ticks, the 12th and 13th field.
    fields = [text.rpartition(")")[2].split() for text in _read_all(pid, "stat")]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children, in millions of bytes; what they share counts for each."""
    kilobytes = [_RESIDENT.search(text) for text in _read_all(pid, "status")]
    return sum(int(found.group(1)) for found in kilobytes if found) * 1024 / 1e6


class _Memory:
    """Resident megabytes of a process and its children, each second of a block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def growth(self) -> LoadFigure:
        """In one minute it is mostly threads that begin and caches that fill; ten minutes tell more."""
        is_long = len(self._seen) >= _JUDGED_S
        name = "memory, last minute to second, change" if is_long else "memory, last sixth to second, change"
        return LoadFigure(name, 100 * growth(self._seen), "%", "<= 2")

    def last_mb(self) -> float:
        """When last looked at."""
        return self._seen[-1]

    def _watch(self) -> None:
        while True:
            self._seen.append(resident_mb(self._pid))
            if self._ended.wait(1.0):
                return
