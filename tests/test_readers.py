"""Many processes search while one writes: each search sees whole documents of one state, and none fails."""

from __future__ import annotations

import os
import re
import socket
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import CorpusDamagedError, CorpusLockedError
from ragkit.indexers.lock import writer_lock
from ragkit.indexers.vectors.sharded_index import ShardedIndex
from ragkit.indexers.vectors.vector_indexes import open_vectors
from tests.changing_corpus import NUM_DOCUMENTS, change_forever, check_document, open_corpus, record, version_of


def nothing(_: str) -> None:
    """What the writer says is not asked for."""


def processes() -> ForkServerContext:
    """What starts processes in which all is imported already."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.changing_corpus", "faiss", "ragkit.corpus"])
    return context


def write(path: Path, kind: str, pipe: Connection) -> None:
    try:
        change_forever(path, 1, kind, nothing)
    except BaseException as error:
        pipe.send(f"the writer: {error!r}")
        raise


def read(path: Path, kind: str, stop: Event, pipe: Connection) -> None:
    """Search until told to stop; sends the number of searches and of states, and what went wrong."""
    searches, states, problem = 0, set[int](), ""
    try:
        with open_corpus(path, kind) as corpus:
            while not stop.is_set() and not problem:
                number = (searches * 7 + os.getpid()) % NUM_DOCUMENTS
                # Every passage there is: so that a document is seen whole or not at all.
                hits = corpus.search(f"Doc{number} tide crane version parts", 4 * NUM_DOCUMENTS)
                texts: dict[str, list[str]] = {}
                for hit in hits:
                    texts.setdefault(hit.passage.document, []).append(hit.passage.text)
                for id_, some in texts.items():
                    check_document(id_, some)
                if not texts:
                    raise AssertionError("a search found nothing")
                states.add(hash(tuple(sorted((id_, version_of(some[0])) for id_, some in texts.items()))))
                searches += 1
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    pipe.send((searches, len(states), problem))


def search_while_writing(path: Path, kind: str, num_readers: int, seconds: float) -> list[tuple[int, int, str]]:
    with open_corpus(path, kind) as corpus:
        corpus.add([record(number, 1) for number in range(NUM_DOCUMENTS)])
    context = processes()
    stop = context.Event()
    hears, says = context.Pipe(duplex=False)
    writer = context.Process(target=write, args=(path, kind, says))
    pipes = [context.Pipe(duplex=False) for _ in range(num_readers)]
    readers = [context.Process(target=read, args=(path, kind, stop, pipe)) for _, pipe in pipes]
    for process in (writer, *readers):
        process.start()
    try:
        time.sleep(seconds)
        stop.set()
        found = [hears_one.recv() for hears_one, _ in pipes]
        assert writer.is_alive(), hears.recv()
    finally:
        stop.set()
        writer.kill()
        for process in (writer, *readers):
            process.join()
    with open_corpus(path, kind) as corpus:
        assert corpus.verify() == []
    return found


def hold(path: Path, pipe: Connection) -> None:
    with writer_lock(path):
        pipe.send("held")
        time.sleep(60)


def test_a_second_writer_is_refused_by_name_and_pid(tmp_path: Path):
    with open_corpus(tmp_path / "corpus") as corpus:
        corpus.add(record(1, 1))
        hears, says = processes().Pipe(duplex=False)
        holder = processes().Process(target=hold, args=(corpus.path, says))
        holder.start()
        try:
            assert hears.recv() == "held"
            name = re.escape(f"is being written to by process {holder.pid} on {socket.gethostname()}, which runs ")
            for change in (
                lambda: corpus.add(record(2, 1)),
                lambda: corpus.remove("doc1"),
                corpus.compact,
                corpus.repair,
            ):
                with pytest.raises(CorpusLockedError, match=name + r"\S+"):
                    change()
            assert corpus.search("Doc1", 1)
        finally:
            holder.kill()
            holder.join()
        assert corpus.remove("doc1") == ["doc1"]


def test_compacting_does_not_wait_for_a_reader(tmp_path: Path):
    with open_corpus(tmp_path / "corpus") as corpus, open_corpus(tmp_path / "corpus") as reader:
        corpus.add([record(number, 1) for number in range(5)])
        corpus.remove("doc1")
        started = time.monotonic()
        with reader._catalogue.snapshot():
            corpus.compact()
            assert len(reader.documents()) == 4
        assert time.monotonic() - started < 10
        assert corpus.verify() == []


@pytest.mark.parametrize("is_written", [True, False])
def test_a_missing_file_is_damage_only_where_no_writer_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_written: bool
):
    tries = 0

    def open_late(*given: Any) -> ShardedIndex:
        nonlocal tries
        tries += 1
        if tries > 20:
            return open_vectors(*given)
        if is_written:
            writer.add(record(2, tries + 1))
        raise FileNotFoundError(2, "No such file", "vectors/00000001.keys.npy")

    with open_corpus(tmp_path / "corpus") as writer, open_corpus(tmp_path / "corpus") as reader:
        writer.add(record(1, 1))
        monkeypatch.setattr("ragkit.searcher.open_vectors", open_late)
        if is_written:
            assert {hit.passage.document for hit in reader.search("Doc1", 9)} == {"doc1", "doc2"}
        else:
            with pytest.raises(CorpusDamagedError, match=r"00000001.keys.npy is missing; run ragkit repair"):
                reader.search("Doc1", 9)
            assert tries == 1


@pytest.mark.parametrize("kind", ["hnsw"])
def test_three_readers_see_whole_documents(tmp_path: Path, kind: str):
    found = search_while_writing(tmp_path / "corpus", kind, 3, 4)
    assert [problem for _, _, problem in found if problem] == []
    assert all(searches > 0 for searches, _, _ in found)
    assert sum(states for _, states, _ in found) > 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hnsw", "ivf-flat"])
def test_eight_readers_see_whole_documents_for_a_minute(tmp_path: Path, kind: str):
    found = search_while_writing(tmp_path / "corpus", kind, 8, 60)
    assert [problem for _, _, problem in found if problem] == []
    assert all(searches > 20 and states > 5 for searches, states, _ in found)
    print(found)  # noqa: T201
