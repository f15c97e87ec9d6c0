"""SIGKILL at random moments of indexing runs: the corpus opens each time, and ends as if none had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from ragkit import Corpus
from ragkit.indexers.shards import current_vectors
from ragkit.indexers.vectors import TEXTS
from tests.fakes import HashEmbedder

KILLS = 20
ROOT = Path(__file__).parents[1]

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
    for i in range(150):
        sentences = [" ".join(choose.choices(words, k=8)).capitalize() + "." for _ in range(choose.randint(1, 20))]
        (folder / f"{i:03d}.txt").write_text(" ".join(sentences))


def start(corpus: Path, documents: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(corpus), str(documents)]
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **options, preexec_fn=_as_in_a_terminal)  # noqa: PLW1509 - no threads here


def _as_in_a_terminal() -> None:
    """What a shell starts in the background inherits that Ctrl-C is ignored; tests may run so."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_to_end(corpus: Path, documents: Path) -> None:
    with start(corpus, documents) as process:
        assert process.wait() == 0


def contents(path: Path) -> tuple[list[object], np.ndarray]:
    """Documents and passages with their keys, and the vectors in the order of the keys."""
    with Corpus.open(path, embedder=HashEmbedder(), create=False) as corpus:
        keys = corpus.store.keys()
        passages = corpus.store.passages(keys.tolist())
        return [*corpus.documents(), *passages], current_vectors(corpus._catalogue, TEXTS, 64)[1]


def test_twenty_kills_lose_nothing(tmp_path: Path):
    documents, killed, whole = tmp_path / "documents", tmp_path / "killed", tmp_path / "whole"
    write_documents(documents)
    run_to_end(whole, documents)
    choose, interrupted = random.Random(3), 0
    for _ in range(KILLS):
        with start(killed, documents) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(choose.uniform(0, 0.35))
            process.send_signal(signal.SIGKILL)
            interrupted += process.wait() == -signal.SIGKILL
        with Corpus.open(killed, embedder=HashEmbedder(), create=False) as corpus:
            assert corpus.verify() == []
            assert all(hit.passage.text for hit in corpus.search("tide crane", 5))
    assert interrupted >= KILLS // 2
    run_to_end(killed, documents)
    (records, vectors), (expected_records, expected_vectors) = contents(killed), contents(whole)
    assert records == expected_records
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-5)


def test_ctrl_c_ends_the_run_with_a_report_and_the_next_goes_on(tmp_path: Path):
    documents, corpus = tmp_path / "documents", tmp_path / "corpus"
    write_documents(documents)
    with start(corpus, documents) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert process.stdout.readline() == "under way\n"
        process.send_signal(signal.SIGINT)
        said = process.stdout.readline()
        assert process.wait() == 0
    assert said.startswith("interrupted=True added=")
    added = int(said.rsplit("=", 1)[1])
    assert 0 < added < 150
    with Corpus.open(corpus, embedder=HashEmbedder(), create=False) as opened:
        assert opened.verify() == []
        assert len(opened.documents()) == added
    with start(corpus, documents) as process:
        assert process.wait() == 0
        assert process.stdout is not None
        assert f"added={150 - added}" in process.stdout.read()
