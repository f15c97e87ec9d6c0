"""The catalogue: what is stored comes back, commits are whole, snapshots hold still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import CorpusDamagedError, CorpusError
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.store import SqlitePassageStore
from ragkit.records import Filter, Page, WordBoxes


def new(document_id: str, *texts: str, source: str = "") -> NewDocument:
    words = WordBoxes(np.array([[0, 3]], np.int32), np.array([[0.1, 0.2, 0.3, 0.4]], np.float32))
    pages = [Page(i, text, words, 595.0, 842.0, "ocr") for i, text in enumerate(texts, 1)]
    passages = [(page.number, 0, len(page.text)) for page in pages if page.text]
    return NewDocument(
        document_id, "Title", source, "text/plain", "hash", "settings", pages, passages, {"year": 2024}
    )


def add(catalogue: Catalogue, *documents: NewDocument) -> list[int]:
    with catalogue.transaction():
        return [key for document in documents for key in catalogue.add_document(document)]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue.create(tmp_path)


def test_passages_pages_and_documents_come_back(catalogue: Catalogue):
    keys = add(catalogue, new("b", "Über 港口 𝄞 x"), new("a", "one", "", "three"))
    store = SqlitePassageStore(catalogue)
    assert keys == [0, 1, 2]
    passages = store.passages([2, 0])
    assert [(p.key, p.document, p.page, p.text) for p in passages] == [
        (2, "a", 3, "three"),
        (0, "b", 1, "Über 港口 𝄞 x"),
    ]
    assert [(d.id, d.num_pages, d.num_passages, d.attributes) for d in store.documents()] == [
        ("a", 3, 2, {"year": 2024}),
        ("b", 1, 1, {"year": 2024}),
    ]
    page = store.page("a", 1)
    assert (page.text, page.width_pt, page.text_source) == ("one", 595.0, "ocr")
    np.testing.assert_allclose(page.words.boxes, [[0.1, 0.2, 0.3, 0.4]], atol=1 / 65535)
    assert store.keys(Filter(frozenset({"a", "unknown"}))).tolist() == [1, 2]


def test_unknown_keys_and_pages_are_errors(catalogue: Catalogue):
    add(catalogue, new("a", "one"))
    store = SqlitePassageStore(catalogue)
    with pytest.raises(CorpusDamagedError, match=r"1 of 2 passages.*first: 7"):
        store.passages([0, 7])
    with pytest.raises(CorpusError, match="no page 9"):
        store.page("a", 9)


def test_replacing_gives_new_keys_and_never_old_ones_again(catalogue: Catalogue):
    assert add(catalogue, new("a", "one", "two")) == [0, 1]
    assert add(catalogue, new("a", "new")) == [2]
    with catalogue.transaction():
        assert catalogue.remove_document("a")
        assert not catalogue.remove_document("a")
    assert add(catalogue, new("a", "again")) == [3]
    assert SqlitePassageStore(catalogue).keys().tolist() == [3]


def test_a_failed_transaction_leaves_nothing(catalogue: Catalogue):
    add(catalogue, new("a", "one"))
    with pytest.raises(RuntimeError, match="disk"), catalogue.transaction():
        catalogue.add_document(new("b", "two"))
        raise RuntimeError("disk")
    assert [document.id for document in SqlitePassageStore(catalogue).documents()] == ["a"]
    assert catalogue.generation == 1
    assert add(catalogue, new("b", "two")) == [1]


def test_a_snapshot_does_not_see_later_commits(catalogue: Catalogue, tmp_path: Path):
    add(catalogue, new("a", "one"))
    reader = Catalogue(tmp_path)
    store = SqlitePassageStore(reader)
    with reader.snapshot() as generation:
        add(catalogue, new("b", "two"))
        assert (generation, store.keys().tolist()) == (1, [0])
    with reader.snapshot() as generation:
        assert (generation, store.keys().tolist()) == (2, [0, 1])


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "catalogue.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(CorpusDamagedError, match=r"catalogue.sqlite is no readable catalogue"):
        _ = Catalogue(tmp_path).generation


def test_a_read_only_folder_can_be_read(catalogue: Catalogue, tmp_path: Path):
    add(catalogue, new("a", "one"))
    catalogue.close()
    assert not (tmp_path / "catalogue.sqlite-wal").exists()
    for path in [*tmp_path.iterdir(), tmp_path]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert SqlitePassageStore(Catalogue(tmp_path)).keys().tolist() == [0]
    finally:
        tmp_path.chmod(0o755)
