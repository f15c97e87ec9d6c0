"""A process of its own that opens an index, searches, and tells what that cost it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.speed.bare_index import read_bare
from ragkit.eval.speed.clustered_vectors import ClusteredEmbedder, clustered_queries
from ragkit.eval.speed.index_speed import Opening
from ragkit.extras import require
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.vectors.vector_indexes import open_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS
from ragkit.records import FloatArray

What = Literal["index", "bare", "mapped", "corpus"]
WHATS: tuple[What, ...] = ("index", "bare", "mapped", "corpus")
_SMAPS = Path("/proc/self/smaps_rollup")
TOP = 10

Search = Callable[[FloatArray, int], object]


@dataclass(frozen=True, slots=True)
class Probe:
    """What is opened: the vector "index" of a corpus, the whole "corpus", or the bare index in a file:
    read into memory ("bare") or "mapped".

    count: rows of the clusters that queries are drawn from. num_searches: one query each.
    """

    what: What
    path: str
    config: dict[str, Any]
    dim: int
    seed: int
    count: int
    num_searches: int


@dataclass(frozen=True, slots=True)
class Probed:
    """seconds: until the first search had answered. Bytes: resident memory added since before opening."""

    seconds: float
    opened_bytes: int
    searched_bytes: int
    private_bytes: int


def probe(task: Probe) -> Probed:
    """Open and search in a fresh process, in which the libraries are loaded already.

    Raises:
        DataError: it failed; with its words.
    """
    return Probed(**_in_process("probe", asdict(task)))


def opening(task: Probe, repeats: int) -> Opening:
    """By fresh processes, of which the first one tells its memory; the others search once."""
    probed = [probe(task), *(probe(replace(task, num_searches=0)) for _ in range(repeats - 1))]
    first, seconds = probed[0], tuple(one.seconds for one in probed)
    return Opening(seconds, first.opened_bytes, first.searched_bytes, first.private_bytes)


def answers(folder: Path, config: Config, dim: int, seed: int, queries: Sequence[str]) -> list[str | None]:
    """The document that a fresh process finds first for each query in a corpus that it opens."""
    task = {
        "path": str(folder),
        "config": config.model_dump(mode="json", exclude_unset=True),
        "dim": dim,
        "seed": seed,
    }
    found: list[str | None] = _in_process("answers", {**task, "queries": list(queries)})
    return found


def _in_process(what: str, task: dict[str, Any]) -> Any:
    code = f"from ragkit.evaluations.speed.index_probe import run; run({what!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DataError(f"a process that measured {task['path']} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


def run(what: str) -> None:
    """The work of the process: a task on standard input, the result on standard output."""
    task = json.load(sys.stdin)
    result: Any = asdict(_probe(Probe(**task))) if what == "probe" else _answers(**task)
    print(json.dumps(result))  # noqa: T201


def _probe(task: Probe) -> Probed:
    queries = clustered_queries(max(1, task.num_searches), task.count, task.dim, task.seed)
    embedder = ClusteredEmbedder(task.dim, task.seed, queries)
    config = parse_config(task.config)
    _load_libraries(task.dim)
    with ExitStack() as stack:
        before = _resident()
        started = time.perf_counter()
        search = _opened(task, config, embedder, stack)
        search(queries[:1], 0)
        seconds = time.perf_counter() - started
        opened = _resident()
        for i in range(task.num_searches):
            search(queries[i : i + 1], i)
        searched = _resident()
    return Probed(seconds, opened[0] - before[0], searched[0] - before[0], searched[1] - before[1])


def _opened(task: Probe, config: Config, embedder: ClusteredEmbedder, stack: ExitStack) -> Search:
    """What searches by a vector, or by its number among the queries."""
    path = Path(task.path)
    if task.what in ("bare", "mapped"):
        bare = read_bare(path, mapped=task.what == "mapped")
        return lambda vector, _: bare.search(vector, TOP)
    if task.what == "corpus":
        corpus = stack.enter_context(Corpus.open(path, config=config, embedder=embedder, create=False))
        return lambda _, number: corpus.search(f"query {number}", TOP)
    catalogue = Catalogue(path)
    stack.callback(catalogue.close)
    with catalogue.snapshot():
        index = open_vectors(catalogue, TEXTS, config.index)
    return lambda vector, _: index.search(vector, TOP)


def _answers(path: str, config: dict[str, Any], dim: int, seed: int, queries: Sequence[str]) -> list[str | None]:
    embedder = ClusteredEmbedder(dim, seed)
    with Corpus.open(path, config=parse_config(config), embedder=embedder, create=False) as corpus:
        found = [corpus.search(query, 1) for query in queries]
    return [hits[0].passage.document if hits else None for hits in found]


def _load_libraries(dim: int) -> None:
    """What a first search costs whatever the index: FAISS, its threads and their memory."""
    faiss = require("faiss")
    rows = np.eye(64, dim, dtype=np.float32)
    for factory in ("Flat", "HNSW4"):
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        index.add(rows)
        index.search(rows, TOP)


def _resident() -> tuple[int, int]:
    """Bytes of this process in memory, and those of them that no file stands behind."""
    facts = dict(line.split(":", 1) for line in _SMAPS.read_text().splitlines()[1:])
    rss, anonymous = (1024 * int(facts[name].split()[0]) for name in ("Rss", "Anonymous"))
    return rss, anonymous
