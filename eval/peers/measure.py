"""One step of one tool's work, in a process of its own: `measure.py TOOL STEP --data D --store S --result R`.

It runs in the tool's own environment and needs numpy alone; the tool is a class in a module beside this one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

K = 10
# A document's part is its number modulo this; a filter by part admits one document in a hundred.
NUM_PARTS = 100
NUM_ADDED = 100
MIN_SEARCHES = 10
# name: (module, what its class is made with)
TOOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "ragkit": ("with_ragkit", {"kind": "auto"}),
    "ragkit flat": ("with_ragkit", {"kind": "flat"}),
    "txtai": ("with_txtai", {}),
    "LlamaIndex": ("with_llamaindex", {"deletes": False}),
    "LlamaIndex map": ("with_llamaindex", {"deletes": True}),
    "Haystack": ("with_haystack", {}),
    "Haystack FAISS": ("with_haystack_faiss", {}),
    "LanceDB": ("with_lancedb", {"indexed": False}),
    "LanceDB IVF_PQ": ("with_lancedb", {"indexed": True}),
}
STEPS = ("build", "search", "search_part", "add", "check_added", "delete", "check_deleted", "search_changed")

Facts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents `start` and on: texts, and vectors, float32 (n, dim), rows of unit length."""

    start: int
    texts: Sequence[str]
    vectors: NDArray[np.float32]

    @property
    def ids(self) -> list[str]:
        return [f"d{number}" for number in self.numbers]

    @property
    def parts(self) -> list[int]:
        """The attribute that is filtered by."""
        return [number % NUM_PARTS for number in self.numbers]

    @property
    def numbers(self) -> range:
        return range(self.start, self.start + len(self.texts))


class Data:
    """What compare.py has made: one folder a size, the same for every tool."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.queries: NDArray[np.float32] = np.load(folder / "queries.npy")
        self.nearest: NDArray[np.int64] = np.load(folder / "nearest.npy")
        self.nearest_of_part: NDArray[np.int64] = np.load(folder / "nearest_of_part.npy")
        self.nearest_changed: NDArray[np.int64] = np.load(folder / "nearest_changed.npy")

    def documents(self, start: int, stop: int | None) -> Documents:
        """Read into memory; `stop` from the end where it is negative."""
        texts = (self._folder / "texts.txt").read_text("utf-8").splitlines()
        vectors = np.load(self._folder / "vectors.npy", mmap_mode="r")
        numbers = range(len(texts))[start:stop]
        rows = np.ascontiguousarray(vectors[numbers.start : numbers.stop])
        return Documents(numbers.start, texts[numbers.start : numbers.stop], rows)

    @property
    def indexed(self) -> Documents:
        """What is built from."""
        return self.documents(0, -NUM_ADDED)

    @property
    def added(self) -> Documents:
        """What is added later."""
        return self.documents(-NUM_ADDED, None)


class Tool(Protocol):
    """What each with_*.py does with its library. Importing the module imports all that the library needs.

    A search returns the ids of hits of which the tool has read the texts too. What a tool cannot do raises
    NotImplementedError, or the tool's own error that says "not implemented".
    """

    def __init__(self, store: Path, data: Data, **options: Any) -> None: ...

    def build(self, documents: Documents) -> None: ...

    def save(self) -> None: ...

    def open(self) -> None: ...

    def search(self, text: str, vector: NDArray[np.float32]) -> list[str]:
        """text: "query 12" or "row 12", for tools that ask an embedder for its vector."""
        ...

    def search_part(self, text: str, vector: NDArray[np.float32], part: int) -> list[str]:
        """As `search`, among the documents of a part."""
        ...

    def add(self, documents: Documents) -> None:
        """Returns when a process that opens the store later finds them."""
        ...

    def delete(self, document: str) -> None:
        """As `add`."""
        ...


def build(tool: Tool, data: Data, store: Path, _seconds: float) -> Facts:
    documents = data.indexed
    build_s = timed(lambda: tool.build(documents))
    save_s = timed(tool.save)
    size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    return {"build_s": build_s + save_s, "save_s": save_s, "disk_mb": size / 1e6}


def search(tool: Tool, data: Data, _store: Path, seconds: float) -> Facts:
    before, own_before = resident_mb()

    def open_and_search() -> None:
        tool.open()
        tool.search("query 0", data.queries[0])

    open_s = timed(open_and_search)
    times, recall = searches(tool.search, data.queries, data.nearest, seconds)
    after, own_after = resident_mb()
    return {
        "open_s": open_s,
        **percentiles("", times),
        "searches_per_s": len(times) / sum(times),
        "num_searches": len(times),
        "recall": recall,
        "resident_mb": after - before,
        "own_mb": own_after - own_before,
        "before_mb": before,
    }


def search_part(tool: Tool, data: Data, _store: Path, seconds: float) -> Facts:
    tool.open()

    def by_part(text: str, vector: NDArray[np.float32]) -> list[str]:
        return tool.search_part(text, vector, int(text.split()[1]) % NUM_PARTS)

    by_part("query 0", data.queries[0])
    times, recall = searches(by_part, data.queries, data.nearest_of_part, seconds)
    return {**percentiles("part_", times), "part_recall": recall, "num_part_searches": len(times)}


def add(tool: Tool, data: Data, _store: Path, _seconds: float) -> Facts:
    documents = data.added
    tool.open()
    tool.search("query 0", data.queries[0])
    return {"add_s": timed(lambda: tool.add(documents))}


def check_added(tool: Tool, data: Data, _store: Path, _seconds: float) -> Facts:
    """How many of the added documents are the first hit for their own vectors."""
    documents = data.added
    tool.open()
    asked = zip(documents.numbers, documents.ids, documents.vectors, strict=True)
    return {"added_found": sum(tool.search(f"row {number}", row)[:1] == [id_] for number, id_, row in asked)}


def delete(tool: Tool, data: Data, _store: Path, _seconds: float) -> Facts:
    tool.open()
    tool.search("query 0", data.queries[0])
    return {"delete_s": timed(lambda: tool.delete("d0"))}


def check_deleted(tool: Tool, data: Data, _store: Path, _seconds: float) -> Facts:
    first = data.documents(0, 1)
    tool.open()
    return {"deleted_found": float("d0" in tool.search("row 0", first.vectors[0]))}


def search_changed(tool: Tool, data: Data, _store: Path, seconds: float) -> Facts:
    """As `search`, after the additions and the deletion."""
    tool.open()
    tool.search("query 0", data.queries[0])
    times, recall = searches(tool.search, data.queries, data.nearest_changed, seconds)
    return {**percentiles("changed_", times), "changed_recall": recall, "num_changed_searches": len(times)}


WORK: dict[str, Callable[[Tool, Data, Path, float], Facts]] = {
    work.__name__: work
    for work in (build, search, search_part, add, check_added, delete, check_deleted, search_changed)
}


def searches(
    ask: Callable[[str, NDArray[np.float32]], list[str]],
    queries: NDArray[np.float32],
    nearest: NDArray[np.int64],
    seconds: float,
) -> tuple[list[float], float]:
    """Seconds of each search, and the mean share of the nearest that were found; fewer searches in bad time."""
    times: list[float] = []
    shares: list[float] = []
    deadline = time.perf_counter() + seconds
    for number, (vector, true) in enumerate(zip(queries, nearest, strict=True)):
        if number >= MIN_SEARCHES and time.perf_counter() > deadline:
            break
        start = time.perf_counter()
        found = ask(f"query {number}", vector)
        times.append(time.perf_counter() - start)
        wanted = {f"d{row}" for row in true if row >= 0}
        shares.append(len(wanted & set(found)) / len(wanted))
    return times, statistics.mean(shares)


def percentiles(prefix: str, times: Sequence[float]) -> Facts:
    p50, p95 = np.percentile(times, (50, 95)) * 1000
    return {f"{prefix}p50_ms": float(p50), f"{prefix}p95_ms": float(p95)}


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resident_mb() -> tuple[float, float]:
    """Memory of this process, and the part of it that is no file's."""
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return kib["Rss"] * 1024 / 1e6, kib["Anonymous"] * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("step", choices=WORK)
    for name in ("data", "store", "result"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120, help="for 1,000 searches; then fewer are made")
    given = parser.parse_args()
    module, options = TOOLS[given.tool]
    start = time.perf_counter()
    library = importlib.import_module(module)
    import_s = time.perf_counter() - start
    data = Data(given.data)
    tool: Tool = library.Tool(given.store, data, **options)
    facts = WORK[given.step](tool, data, given.store, given.seconds)
    given.result.write_text(json.dumps({"import_s": import_s, **facts}), "utf-8")


if __name__ == "__main__":
    main()
