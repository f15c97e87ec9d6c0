"""Run in a process with failing_disk.c preloaded: changes a corpus while the n-th write to it fails, for many n.

    python -m tests.failing_disk FOLDER KIND ERROR STICKY STRIDE

KIND: "change" a corpus, or "create" one.

Prints one line of JSON: how many changes there were, for how many n one failed, and what went wrong.
"""

from __future__ import annotations

import ctypes
import errno
import json
import shutil
import sys
from pathlib import Path

from ragkit import Corpus, TextRecord
from ragkit.errors import CorpusError
from ragkit.indexers import build_index
from tests.fakes import HashEmbedder

CONFIG = {"index": {"kind": "hnsw", "min_vectors": 8}}
OLD = [TextRecord(f"old-{i}", f"Document old-{i} in version 1: cranes and tides {i * 7}.") for i in range(24)]
NEW = [TextRecord(f"new-{i}", f"Document new-{i} in version 1: ropes and barges {i * 5}.") for i in range(9)]
CHANGED = [TextRecord(f"old-{i}", f"Document old-{i} in version 2: cranes and tides {i * 7}.") for i in range(2)]
REMOVED = ["old-5", "old-6"]
SAYS_WHAT_REMAINS = ("What was committed before stays", "Nothing was changed")


def records(given: list[TextRecord]) -> dict[str, str]:
    return {record.id: record.text for record in given}


BEFORE = records(OLD)
AFTER = {id_: text for id_, text in records([*OLD, *NEW, *CHANGED]).items() if id_ not in REMOVED}


def open_corpus(path: Path) -> Corpus:
    return Corpus.open(path, embedder=HashEmbedder(), config=CONFIG)


def create(path: Path, committed: set[str]) -> None:
    """A new corpus."""
    with open_corpus(path) as corpus:
        corpus.add([TextRecord(id_, text) for id_, text in AFTER.items()])
        committed |= AFTER.keys()


def change(path: Path, committed: set[str]) -> None:
    """All kinds of commands, each with a corpus object of its own; `committed` takes the ids of each commit."""
    with open_corpus(path) as corpus:
        corpus.add([*CHANGED, *NEW])
        committed |= records([*CHANGED, *NEW]).keys()
    with open_corpus(path) as corpus:
        corpus.remove(REMOVED)
        committed |= set(REMOVED)
    with open_corpus(path) as corpus:
        corpus.set_attributes({"old-9": {"year": 1987}})
        corpus.compact()


def texts(corpus: Corpus) -> dict[str, str]:
    return {document.id: corpus.store.page(document.id, 1).text for document in corpus.documents()}


def found(corpus: Corpus) -> set[str]:
    """What searches find, by text."""
    hits = corpus.search_many(["cranes and tides", "ropes and barges"], 60)
    return {hit.passage.text for some in hits for hit in some}


def problems_after(path: Path, kept: set[str], committed: set[str]) -> list[str]:
    """What is not as it should be in a corpus after a command that failed."""
    with open_corpus(path) as corpus:
        problems = corpus.verify()
        now = texts(corpus)
        problems += [
            f"of no version: {id_}" for id_, text in now.items() if text not in (BEFORE.get(id_), AFTER.get(id_))
        ]
        problems += [f"lost: {id_}" for id_ in kept - now.keys()]
        problems += [f"committed and not there: {id_}" for id_ in committed if now.get(id_) != AFTER.get(id_)]
        if found(corpus) != set(now.values()):
            problems.append("searches find other texts than there are")
    return problems


def run_once(
    base: Path, path: Path, shim: ctypes.CDLL, n: int, error: int, sticky: bool
) -> tuple[bool, list[str]]:
    shutil.rmtree(path, ignore_errors=True)
    command, kept = create, set[str]()
    if base.exists():
        shutil.copytree(base, path)
        command, kept = change, BEFORE.keys() & AFTER.keys()
    committed: set[str] = set()
    problems: list[str] = []
    said = ""
    original = build_index.IndexBuilder._commit

    def commit(builder: build_index.IndexBuilder) -> None:
        ids = {document.id for document in builder._pending}
        original(builder)
        committed.update(ids)

    build_index.IndexBuilder._commit = commit  # type: ignore[method-assign]
    shim.failing_arm(str(path).encode(), n, error, sticky)
    try:
        command(path, committed)
    except CorpusError as failure:
        said = str(failure)
    except Exception as failure:
        problems.append(f"{type(failure).__name__}: {failure}")
    fired = bool(shim.failing_fired())
    shim.failing_disarm()
    build_index.IndexBuilder._commit = original  # type: ignore[method-assign]
    if said and not any(words in said for words in SAYS_WHAT_REMAINS):
        problems.append(f"the error does not say what remains: {said}")
    problems += problems_after(path, kept, committed)
    command(path, set())
    problems += problems_after(path, kept, set(AFTER) | set(REMOVED))
    return fired, [f"n = {n}: {problem}" for problem in problems]


def main(folder: str, kind: str, error: str, sticky: str, stride: str) -> None:
    shim = ctypes.CDLL(None)
    build_index._COMMIT_PASSAGES = 4
    base, path = Path(folder) / "base", Path(folder) / "changed"
    if kind == "change":
        with open_corpus(base) as corpus:
            corpus.add(OLD)
    n, failed, problems, fired = 1, 0, [], True
    while fired:
        fired, more = run_once(base, path, shim, n, getattr(errno, error), sticky == "sticky")
        problems += more
        failed += fired
        n += int(stride)
    print(json.dumps({"changes": n - int(stride), "failed": failed, "problems": problems}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
