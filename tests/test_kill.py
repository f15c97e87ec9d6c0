"""SIGKILL at random moments: the corpus is sound each time, and holds all that was committed."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from ragkit import Corpus
from ragkit.indexers.shards import current_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS
from tests.changing_corpus import change_forever, check_document, open_corpus
from tests.fakes import HashEmbedder
from tests.warm_python import WarmProcess, WarmPython

KILLS, NUM_DOCUMENTS = 3, 40

# Small commits and a slow embedder give a kill many places to hit within a short run.
RUN = """
import sys, time
from ragkit import Corpus
from ragkit.indexers import build_index
from tests.fakes import HashEmbedder

class Slow(HashEmbedder):
    def embed_passages(self, passages):
        time.sleep(0.02)
        return super().embed_passages(passages)

told = False

def tell(step):
    global told
    if step.documents_done and not told:
        told = True
        print("under way", flush=True)

build_index._COMMIT_PASSAGES = 6
with Corpus.open(sys.argv[1], embedder=Slow(), config={"passages": {"max_tokens": 40}}) as corpus:
    print("open", flush=True)
    report = corpus.add(sys.argv[2], progress=tell)
    assert not report.failed, report.failed
    print(f"interrupted={report.interrupted} added={len(report.added)}", flush=True)
"""


def write_documents(folder: Path) -> None:
    folder.mkdir()
    choose = random.Random(7)
    words = "tide crane rope barge pilot storm ledger signal quay anchor lantern chart".split()
    for i in range(NUM_DOCUMENTS):
        sentences = [" ".join(choose.choices(words, k=8)).capitalize() + "." for _ in range(choose.randint(1, 20))]
        (folder / f"{i:03d}.txt").write_text(" ".join(sentences))


def start(python: WarmPython, corpus: Path, documents: Path) -> WarmProcess:
    return python.start(["-c", RUN, str(corpus), str(documents)])


def run_to_end(python: WarmPython, corpus: Path, documents: Path) -> None:
    with start(python, corpus, documents) as process:
        assert process.wait() == 0


def contents(path: Path) -> tuple[list[object], np.ndarray]:
    """Documents and passages with their keys, and the vectors in the order of the keys."""
    with Corpus.open(path, embedder=HashEmbedder(), create=False) as corpus:
        keys = corpus.store.keys()
        passages = corpus.store.passages(keys.tolist())
        return [*corpus.documents(), *passages], current_vectors(corpus._catalogue, TEXTS, 64)[1]


class Changes:
    """What a writer has said: of each document the version that is committed, and those that may be."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self._possible: dict[int, set[int]] = {}

    def hear(self, said: str) -> None:
        for line in said.split("\n")[:-1]:
            word, number, version = line.split()
            if word == "want":
                self._possible.setdefault(int(number), set()).add(int(version))
            else:
                self.committed[int(number)] = int(version)
                self._possible.pop(int(number), None)

    def check(self, corpus: Corpus) -> None:
        """Each document is in a version that it may be in; that is the committed one from now on."""
        found: dict[int, int] = {}
        texts: dict[str, list[str]] = {}
        for passage in corpus.store.passages(corpus.store.keys().tolist()):
            texts.setdefault(passage.document, []).append(passage.text)
        for id_, some in texts.items():
            found[int(id_.removeprefix("doc"))] = check_document(id_, some)
        assert len(texts) == len(corpus.documents())
        for number in self.committed.keys() | self._possible.keys() | found.keys():
            possible = {self.committed.get(number, 0)} | self._possible.get(number, set())
            assert found.get(number, 0) in possible, (number, found.get(number, 0), possible)
        self.committed, self._possible = found, {}


def say_to(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def write_until_killed(path: Path, seed: int, kind: str, pipe: Connection) -> None:
    change_forever(path, seed, kind, partial(say_to, pipe.fileno()))


def kill_once(path: Path, seed: int, kind: str, seconds: float) -> str:
    """Let a process change the corpus for so long after its first change began; what it said until then."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.changing_corpus", "faiss", "ragkit.corpus"])
    hears, says = context.Pipe(duplex=False)
    process = context.Process(target=write_until_killed, args=(path, seed, kind, says))
    process.start()
    says.close()
    assert hears.poll(60), "the writer said nothing"
    time.sleep(seconds)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process.close()
    parts: list[bytes] = []
    while part := os.read(hears.fileno(), 1 << 16):
        parts.append(part)
    hears.close()
    return b"".join(parts).decode()


def kill_often(path: Path, kind: str, kills: int) -> None:
    choose, changes = random.Random(kills), Changes()
    for seed in range(kills):
        changes.hear(kill_once(path, seed, kind, choose.uniform(0, 0.5)))
        with open_corpus(path, kind) as corpus:
            assert corpus.verify() == []
            changes.check(corpus)
            hits = corpus.search("tide crane", 1000)
            assert {hit.passage.document for hit in hits} == {document.id for document in corpus.documents()}


@pytest.mark.parametrize("kind", ["hnsw", "ivf-flat"])
def test_ten_kills_lose_nothing(tmp_path: Path, kind: str):
    kill_often(tmp_path / "corpus", kind, 10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf-flat", "ivf-sq8"])
def test_fifty_kills_lose_nothing(tmp_path: Path, kind: str):
    kill_often(tmp_path / "corpus", kind, 50)


def test_indexing_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path, warm_python: WarmPython):
    documents, killed, whole = tmp_path / "documents", tmp_path / "killed", tmp_path / "whole"
    write_documents(documents)
    run_to_end(warm_python, whole, documents)
    choose, interrupted = random.Random(3), 0
    for _ in range(KILLS):
        with start(warm_python, killed, documents) as process:
            process.stdout.readline()
            time.sleep(choose.uniform(0, 0.35))
            process.send_signal(signal.SIGKILL)
            interrupted += process.wait() == -signal.SIGKILL
        with Corpus.open(killed, embedder=HashEmbedder(), create=False) as corpus:
            assert corpus.verify() == []
            assert all(hit.passage.text for hit in corpus.search("tide crane", 5))
    assert interrupted >= KILLS // 2
    run_to_end(warm_python, killed, documents)
    (records, vectors), (expected_records, expected_vectors) = contents(killed), contents(whole)
    assert records == expected_records
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-5)


def test_ctrl_c_ends_the_run_with_a_report_and_the_next_goes_on(tmp_path: Path, warm_python: WarmPython):
    documents, corpus = tmp_path / "documents", tmp_path / "corpus"
    write_documents(documents)
    with start(warm_python, corpus, documents) as process:
        assert process.stdout.readline() == "open\n"
        assert process.stdout.readline() == "under way\n"
        process.send_signal(signal.SIGINT)
        said = process.stdout.readline()
        assert process.wait() == 0
    assert said.startswith("interrupted=True added=")
    added = int(said.rsplit("=", 1)[1])
    assert 0 < added < NUM_DOCUMENTS
    with Corpus.open(corpus, embedder=HashEmbedder(), create=False) as opened:
        assert opened.verify() == []
        assert len(opened.documents()) == added
    with start(warm_python, corpus, documents) as process:
        assert process.wait() == 0
        assert f"added={NUM_DOCUMENTS - added}" in process.stdout.read()
