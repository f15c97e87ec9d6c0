"""What adding to a corpus and removing from it costs, and whether other processes see it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.eval.speed.clustered_vectors import ClusteredEmbedder, clustered_records
from ragkit.eval.speed.index_speed import Change, IndexSpeedPlan
from ragkit.evaluations.speed.index_probe import answers

WRITTEN = Path("/proc/self/io")


def measure_changes(
    path: Path, config: Config, embedder: ClusteredEmbedder, size: int, plan: IndexSpeedPlan
) -> tuple[Change, ...]:
    """Add new documents and remove old ones, `plan.repeats` times, in a corpus of `size` documents.

    The process has the corpus open and has searched it, as a server would have. Removed documents are chosen at
    random from those that the corpus began with. After each round a fresh process looks for all of them.
    """
    many = plan.num_changed
    rows = np.random.default_rng(plan.seed).permutation(size)[: plan.repeats * (1 + many)].tolist()
    adding, one, several = _ChangeLog(f"add {many}"), _ChangeLog("delete 1"), _ChangeLog(f"delete {many}")
    with Corpus.open(path, config=config, embedder=embedder) as opened:
        opened.search("query 0")
        for number in range(plan.repeats):
            new = clustered_records(size + number * many, size + (number + 1) * many, plan.seed)
            embedder.make_ready(range(size + number * many, size + (number + 1) * many))
            gone = [f"d{row}" for row in rows[number * (1 + many) :][: 1 + many]]
            adding.run(opened.add, new)
            one.run(opened.remove, gone[0])
            several.run(opened.remove, gone[1:])
            ids = [new[0].id, new[-1].id, *gone]
            found = answers(path, config, plan.dim, plan.seed, [f"row {id_[1:]}" for id_ in ids])
            there = [answer == id_ for answer, id_ in zip(found, ids, strict=True)]
            adding.seen &= all(there[:2])
            one.seen &= not there[2]
            several.seen &= not any(there[3:])
    return adding.change(), one.change(), several.change()


class _ChangeLog:
    """What a kind of change took each time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.num_bytes: list[int] = []
        self.seen = True

    def run(self, change: Callable[[Any], Any], what: Any) -> None:
        before = _written()
        with timed(self.seconds):
            change(what)
        self.num_bytes.append(_written() - before)

    def change(self) -> Change:
        return Change(self.name, tuple(self.seconds), tuple(self.num_bytes), self.seen)


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes."""
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


def _written() -> int:
    """Bytes that this process has given to write() so far."""
    facts = dict(line.split(": ") for line in WRITTEN.read_text().splitlines())
    return int(facts["wchar"])


def copy_corpus(source: Path, target: Path) -> None:
    """A corpus that nobody writes to, as another: its data files, which never change, are linked."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(exist_ok=True)
        elif path.parent == source:
            shutil.copy2(path, copy)
        else:
            os.link(path, copy)
    # What is written back of the copy shall not slow down what is timed.
    os.sync()
