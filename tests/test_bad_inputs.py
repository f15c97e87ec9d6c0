"""A folder with every kind of bad input: each is named with its reason, and the good files are indexed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragkit import Corpus
from ragkit.indexers import prepare
from tests.pdf_maker import make_pdf
from tests.warm_python import Done, WarmPython

BM25 = {"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}

# File -> words of the reason it is refused for.
REFUSED = {
    "corrupt.pdf": "damaged",
    "cut.pdf": "truncated",
    "empty.txt": "empty",
    "empty.pdf": "empty",
    "encrypted.pdf": "password",
    "latin1.txt": "UTF-8",
    "no-pages.pdf": "no pages",
    "text-named.pdf": "the name says application/pdf",
    "cut.png": "truncated",
    "binary.txt": "not utf-8",
}
# Many commits take them.
NUM_PAGES = 10_000
GOOD = {"good.pdf", "good.md", "pdf-named.txt", "huge-page.pdf", "many-pages.pdf"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bad") / "docs"
    made.mkdir()
    make_pdf(made / "good.pdf", ["Anchors are stored in the northern shed."])
    (made / "good.md").write_text("# Ropes\nRopes are stored in the southern shed.")
    whole = (made / "good.pdf").read_bytes()
    (made / "corrupt.pdf").write_bytes(b"%PDF-1.7\n" + np.random.default_rng(0).bytes(5000))
    (made / "cut.pdf").write_bytes(whole[:60])
    (made / "empty.txt").touch()
    (made / "empty.pdf").touch()
    make_pdf(made / "encrypted.pdf", ["Signal flags are stored in the tower."], password="open sesame")
    (made / "latin1.txt").write_bytes("Übersicht der Anker".encode("latin-1"))
    make_pdf(made / "no-pages.pdf", [])
    (made / "text-named.pdf").write_text("only words")
    (made / "pdf-named.txt").write_bytes(whole)
    Image.new("RGB", (300, 200), "white").save(made / "whole.png")
    (made / "cut.png").write_bytes((made / "whole.png").read_bytes()[:80])
    (made / "whole.png").unlink()
    (made / "binary.txt").write_bytes(bytes(range(256)) * 4)
    make_pdf(made / "huge-page.pdf", ["A poster about tides."], size=(14400, 14400))
    make_pdf(made / "many-pages.pdf", [f"Entry number {i} of the ledger." for i in range(NUM_PAGES)])
    (made / "loop").symlink_to(made, target_is_directory=True)
    return made


@pytest.fixture(scope="module")
def result(folder: Path, warm_python: WarmPython) -> tuple[Done, Path]:
    corpus = folder.parent / "corpus"
    command = ["-m", "ragkit", "index", str(folder), "--corpus", str(corpus)]
    return warm_python.run([*command, "--embedder", "none", "--json"]), corpus


def test_each_bad_file_is_named_with_its_reason(result: tuple[Done, Path]):
    done, _ = result
    assert done.returncode == 1, done.stderr
    failed = {Path(row["path"]).name: row["reason"] for row in json.loads(done.stdout)["failed"]}
    assert failed.keys() == REFUSED.keys()
    for name, word in REFUSED.items():
        assert word.lower() in failed[name].lower(), (name, failed[name])
        assert len(failed[name]) > 8, (name, failed[name])


def test_the_good_files_are_indexed_whole(result: tuple[Done, Path]):
    done, path = result
    assert set(json.loads(done.stdout)["added"]) == GOOD
    with Corpus.open(path, config=BM25, create=False) as corpus:
        assert corpus.verify() == []
        assert {document.id: document.num_pages for document in corpus.documents()} == {
            **dict.fromkeys(GOOD, 1),
            "many-pages.pdf": NUM_PAGES,
        }
        [hit] = corpus.search("ledger 7312", 1)
        assert (hit.passage.document, hit.passage.page) == ("many-pages.pdf", 7313)
        assert corpus.search("poster about tides", 1)[0].passage.document == "huge-page.pdf"


def test_what_is_named_wrongly_is_said(result: tuple[Done, Path]):
    warnings = {Path(row["path"]).name: row["reason"] for row in json.loads(result[0].stdout)["warnings"]}
    assert "application/pdf" in warnings["pdf-named.txt"]


def test_the_password_opens_the_encrypted_file(folder: Path, tmp_path: Path):
    with Corpus.open(tmp_path / "corpus", config=BM25) as corpus:
        wrong = corpus.add(folder / "encrypted.pdf", password="guess")
        assert "password" in wrong.failed[0].reason
        assert corpus.add(folder / "encrypted.pdf", password="open sesame").added == ["encrypted.pdf"]
        assert corpus.search("signal flags", 1)[0].passage.document == "encrypted.pdf"


def test_a_file_that_vanishes_midway_is_a_failure(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a.txt", "b.txt"):
        (docs / name).write_text("Barges wait at the quay.")
    hash_of = prepare.content_hash_of

    def hash_then_vanish(path: Path) -> str:
        digest = hash_of(path)
        if path.name == "b.txt":
            path.unlink()
        return digest

    monkeypatch.setattr("ragkit.indexers.work_list.content_hash_of", hash_then_vanish)
    with Corpus.open(tmp_path / "corpus", config=BM25) as corpus:
        report = corpus.add(docs)
        assert report.added == ["a.txt"]
        assert [Path(problem.path).name for problem in report.failed] == ["b.txt"]
        assert [document.id for document in corpus.documents()] == ["a.txt"]
