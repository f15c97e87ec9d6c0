"""SIGKILL while page pictures are embedded: no page is lost, doubled, or embedded again once it was kept."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np

from ragkit import Corpus
from ragkit.indexers.shards import current_vectors
from ragkit.indexers.vectors.vector_shards import PICTURES
from tests.fakes import RowTokenEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf
from tests.warm_python import WarmProcess, WarmPython

KILLS = 5
CONFIG = {"pages": {"embed": "image", "dpi": 36, "render_processes": 1}}

RUN = """
import sys, time
from ragkit import Corpus
from tests.fakes import RowTokenEmbedder, ThumbnailEmbedder
from tests.test_picture_kill import CONFIG

class Slow(ThumbnailEmbedder):
    def embed_passages(self, passages):
        time.sleep(0.1)
        print("embedding", len(passages), flush=True)
        return super().embed_passages(passages)

parts = {"page_embedder": Slow(batch_pages=2), "token_embedder": RowTokenEmbedder()}
with Corpus.open(sys.argv[1], config=CONFIG, **parts) as corpus:
    report = corpus.add(sys.argv[2])
    assert not report.failed, report.failed
    print(f"added={len(report.added)}", flush=True)
"""


def write_documents(folder: Path) -> None:
    folder.mkdir()
    for name, count in (("a", 14), ("b", 1), ("c", 9)):
        drawings = [b"%d %d 40 40 re f" % (20 * i, 30 * i) for i in range(1, count + 1)]
        make_pdf(folder / f"{name}.pdf", [PdfPage(f"{name}{i}", drawing=d) for i, d in enumerate(drawings)])


def start(python: WarmPython, corpus: Path, documents: Path) -> WarmProcess:
    return python.start(["-c", RUN, str(corpus), str(documents)])


def open_corpus(path: Path) -> Corpus:
    return Corpus.open(path, page_embedder=ThumbnailEmbedder(), token_embedder=RowTokenEmbedder(), create=False)


def contents(path: Path) -> tuple[set[tuple[str, int, str]], np.ndarray]:
    """Document, page and picture file of each passage, and the vectors in the order of the keys."""
    with open_corpus(path) as corpus:
        assert corpus.verify() == []
        passages = corpus.store.passages(corpus.store.keys().tolist())
        places = {(p.document, p.page, Path(p.image.path).name) for p in passages if p.image is not None}
        assert len(places) == len(passages)
        return places, current_vectors(corpus._catalogue, PICTURES, ThumbnailEmbedder().dim)[1]


def test_kills_lose_no_page_and_repeat_little(tmp_path: Path, warm_python: WarmPython):
    documents, killed, whole = tmp_path / "documents", tmp_path / "killed", tmp_path / "whole"
    write_documents(documents)
    with start(warm_python, whole, documents) as process:
        assert process.wait() == 0
    choose, embedded = random.Random(5), 0
    for _ in range(KILLS):
        with start(warm_python, killed, documents) as process:
            for _ in range(choose.randint(1, 2)):
                line = process.stdout.readline()
                embedded += int(line.split()[1]) if line.startswith("embedding") else 0
            time.sleep(choose.uniform(0, 0.1))
            process.kill()
        with open_corpus(killed) as corpus:
            assert corpus.verify() == []
    with start(warm_python, killed, documents) as process:
        embedded += sum(int(line.split()[1]) for line in process.stdout if line.startswith("embedding"))
        assert process.wait() == 0
    # A kill costs at most the batch at hand (and one more that was told but not kept).
    assert embedded <= 24 + 2 * 2 * KILLS
    (places, vectors), (expected, expected_vectors) = contents(killed), contents(whole)
    assert places == expected
    assert len(places) == 24
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-6)
    assert not (killed / "unfinished.sqlite").exists()
    kept = {path.name for path in (killed / "pages").glob("*/*")}
    assert kept == {name for _, _, name in places}
