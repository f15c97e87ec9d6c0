"""Corpora of vector stores that are deleted while others, or they themselves, are used."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import parse_config
from ragkit.errors import CorpusDeletedError
from ragkit.hosting.library import StoreFolder
from ragkit.hosting.store_corpus import StoreCorpus, StoreModels
from ragkit.indexers.create_corpus import create_corpus
from ragkit.records import AskRequest, TextRecord
from ragkit.serve.api.http_errors import problem_of
from ragkit.serve.stores.rows import FileRow
from ragkit.serve.stores.rules import AttachFile, CreateStore
from ragkit.serve.stores.state import ServerState
from ragkit.serve.stores.store_files import StoreFiles
from ragkit.serve.stores.store_shelf import StoreShelf
from ragkit.where import as_filter


@pytest.fixture
def corpora(tmp_path: Path) -> Iterator[StoreFolder]:
    state = ServerState(tmp_path)
    config = parse_config({"embedder": {"name": "none"}})
    made = StoreFolder(tmp_path, StoreModels.load(config, to_answer=True), StoreShelf(state))
    yield made
    made.close()
    state.close()


def stores_of(corpora: StoreFolder, number: int) -> list[str]:
    made = [corpora.shelf.create(CreateStore()).id for _ in range(number)]
    for store in made:
        corpora.open(store)
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "corpora").iterdir())


def test_a_long_deletion_does_not_hold_up_other_stores(
    corpora: StoreFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, here = stores_of(corpora, 2)
    begun, may_end, real = threading.Event(), threading.Event(), shutil.rmtree

    def slow(path: Path) -> None:
        begun.set()
        assert may_end.wait(10)
        real(path)

    monkeypatch.setattr("ragkit.hosting.library.shutil.rmtree", slow)
    corpora.shelf.delete(gone)
    corpora.drop(gone)
    sweeping = threading.Thread(target=corpora.sweep, args=(None,))
    sweeping.start()
    assert begun.wait(10)
    opening = threading.Thread(target=corpora.open, args=(here,), daemon=True)
    opening.start()
    opening.join(5)
    was_opened = not opening.is_alive()
    may_end.set()
    sweeping.join()
    assert was_opened
    assert names(tmp_path) == [here]


def test_a_folder_that_cannot_be_deleted_keeps_no_other(
    corpora: StoreFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, gone = stores_of(corpora, 2)
    real = shutil.rmtree

    def refusing(path: Path) -> None:
        if path.name == stuck:
            raise PermissionError(13, "no")
        real(path)

    for store in (stuck, gone):
        corpora.shelf.delete(store)
        corpora.drop(store)
    with monkeypatch.context() as patch:
        patch.setattr("ragkit.hosting.library.shutil.rmtree", refusing)
        with pytest.raises(PermissionError):
            corpora.sweep(None)
    assert names(tmp_path) == [stuck]
    corpora.sweep(None)
    assert names(tmp_path) == []


def test_what_is_dropped_twice_stays_while_it_is_used(corpora: StoreFolder, tmp_path: Path) -> None:
    (store,) = stores_of(corpora, 1)
    corpus = corpora.open(store)
    assert isinstance(corpus, StoreCorpus)
    with corpus.in_use():
        # It expires, and then somebody deletes it.
        corpora.drop(store)
        corpora.shelf.delete(store)
        corpora.drop(store)
        corpora.sweep(None)
        assert names(tmp_path) == [store]
    corpora.sweep(None)
    assert names(tmp_path) == []


def test_who_found_a_store_and_comes_to_it_after_its_deletion_is_told_so(
    corpora: StoreFolder, tmp_path: Path
) -> None:
    (store,) = stores_of(corpora, 1)
    corpus = corpora.open(store)
    corpora.shelf.delete(store)
    corpora.drop(store)
    corpora.sweep(None)
    with pytest.raises(CorpusDeletedError, match=rf"{store} was deleted"):
        corpus.search_many(["otter"], 1)
    with pytest.raises(CorpusDeletedError, match=rf"{store} was deleted"):
        asyncio.run(corpus.answerer.ask(AskRequest("otter")))
    with pytest.raises(KeyError):
        corpora.open(store)
    assert names(tmp_path) == []
    assert problem_of(CorpusDeletedError("gone"), "req").status == 404


def test_only_so_many_corpora_stay_open(corpora: StoreFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.hosting.library._MOST_OPEN", 2)
    first, second, third, fourth = (corpora.shelf.create(CreateStore()).id for _ in range(4))
    used, idle = corpora.open(first), corpora.open(second)
    assert isinstance(used, StoreCorpus)
    with used.in_use():
        corpora.open(third)
        corpora.open(fourth)
        assert corpora.open(first) is used
    assert corpora.open(second) is not idle
    # Who has it in hand goes on.
    assert idle.store.documents() == []


def test_a_corpus_that_the_indexing_process_makes_and_fills_at_this_moment(
    corpora: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: Path, *arguments: Any) -> None:
        # Between the look whether it is there and its creation.
        create_corpus(path, *arguments)
        (path / "shards").mkdir()
        create_corpus(path, *arguments)

    monkeypatch.setattr("ragkit.hosting.store_corpus.create_corpus", late)
    store = corpora.shelf.create(CreateStore()).id
    assert corpora.open(store).store.documents() == []


def test_what_waits_to_be_changed_is_not_found_by_what_it_was(corpora: StoreFolder, tmp_path: Path) -> None:
    (store,) = stores_of(corpora, 1)
    files = StoreFiles(corpora.shelf._state)
    rows = [FileRow(id_, f"{id_}.txt", 9, "assistants", 1) for id_ in ("file-a", "file-b")]
    with corpora.shelf._state.change() as connection:
        for row in rows:
            connection.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, NULL)", [row.id, row.filename, 9, "x", 1])
    asked = AttachFile(file_id="file-a", attributes={"dept": "open"})
    attached, _ = files.attach(store, [(row, asked) for row in rows])
    with StoreCorpus(tmp_path / "corpora" / store, corpora._models) as corpus:
        corpus.add([TextRecord(row.document, "The crane.", attributes={"dept": "open"}) for row in attached])
    with corpora.shelf._state.change() as connection:
        connection.execute("DELETE FROM jobs")

    def found(where: str | None = None) -> list[str]:
        (hits,) = corpora.open(store).search_many(["crane"], 9, where=as_filter(where))
        return sorted(hit.passage.document for hit in hits)

    assert found() == found("dept = open") == ["file-a.txt", "file-b.txt"]
    files.set_attributes(store, "file-a", {"dept": "secret", "level": 3.0})
    assert (found(), found("dept = open")) == (["file-a.txt", "file-b.txt"], ["file-b.txt"])
    files.detach(store, "file-b")
    assert (found(), found("dept = open")) == (["file-a.txt"], [])
    files.detach(store, "file-a")
    assert found() == []
