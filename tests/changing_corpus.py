"""A writer that never stops changing a corpus, and says so: what tests of kills and of readers run beside them.

A document says in each of its passages which document it is, in which version, and how many passages it has; so a
reader can tell a whole document from a torn one.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ragkit import Corpus, TextRecord
from ragkit.indexers import build_index
from tests.fakes import HashEmbedder

NUM_DOCUMENTS = 40
_WORDS = "tide crane rope barge pilot storm ledger signal quay anchor lantern chart".split()
_FACTS = re.compile(r"Doc(\d+) is in version (\d+) of (\d+) parts")

Say = Callable[[str], None]


def open_corpus(path: Path, kind: str = "flat") -> Corpus:
    config = {"index": {"kind": kind, "min_vectors": 8}, "passages": {"max_tokens": 24, "overlap_tokens": 0}}
    return Corpus.open(path, embedder=HashEmbedder(), config=config)


def record(number: int, version: int) -> TextRecord:
    """A document of as many passages as its number and version say."""
    parts = 1 + (number + version) % 3
    choose = random.Random(1000 * number + version)
    facts = f"Doc{number} is in version {version} of {parts} parts"
    sentences = [f"{facts} with {' '.join(choose.choices(_WORDS, k=7))} in part{part}." for part in range(parts)]
    return TextRecord(f"doc{number}", " ".join(sentences))


def version_of(text: str) -> tuple[int, int, int]:
    """Number, version and number of parts that a passage says."""
    found = _FACTS.search(text)
    assert found is not None, text
    number, version, parts = map(int, found.groups())
    return number, version, parts


def check_document(id_: str, texts: Iterable[str]) -> int:
    """The version that all passages of a document say, which are all its passages; raises AssertionError."""
    said = [version_of(text) for text in texts]
    assert len(set(said)) == 1, f"{id_} is torn: {said}"
    number, version, parts = said[0]
    assert id_ == f"doc{number}", f"{id_} says that it is doc{number}"
    assert len(said) == parts, f"{id_} has {len(said)} of its {parts} passages"
    return version


def change_forever(path: Path, seed: int, kind: str, say: Say, compact: bool = True, pause_s: float = 0.0) -> None:
    """Add, replace, remove and compact at random until the process ends.

    Says "want NUMBER VERSION" (version 0: removed) before a change begins, "done NUMBER VERSION" after its commit.
    """
    choose = random.Random(seed)
    build_index._COMMIT_PASSAGES = 6
    original = build_index.IndexBuilder._commit

    def commit(builder: build_index.IndexBuilder) -> None:
        pending = [version_of(document.pages[0].text) for document in builder._pending]
        original(builder)
        for number, version, _ in pending:
            say(f"done {number} {version}")

    build_index.IndexBuilder._commit = commit  # type: ignore[method-assign]
    with open_corpus(path, kind) as corpus:
        versions = {int(document.id[3:]): 0 for document in corpus.documents()}
        for number in versions:
            versions[number] = version_of(corpus.store.page(f"doc{number}", 1).text)[1]
        while True:
            _change_once(corpus, choose, versions, say, compact)
            time.sleep(pause_s)


def _change_once(corpus: Corpus, choose: random.Random, versions: dict[int, int], say: Say, compact: bool) -> None:
    what = choose.random()
    if compact and what < 0.1:
        corpus.compact()
    elif what < 0.4 and versions:
        numbers = choose.sample(sorted(versions), min(len(versions), choose.randint(1, 4)))
        for number in numbers:
            say(f"want {number} 0")
        corpus.remove(f"doc{number}" for number in numbers)
        for number in numbers:
            say(f"done {number} 0")
            del versions[number]
    else:
        numbers = choose.sample(range(NUM_DOCUMENTS), choose.randint(1, 12))
        new = {number: versions.get(number, 0) + choose.randint(1, 5) for number in numbers}
        for number, version in new.items():
            say(f"want {number} {version}")
        report = corpus.add([record(number, version) for number, version in new.items()])
        assert not report.failed, report.failed
        versions.update(new)
