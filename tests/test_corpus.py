"""The SDK on a real corpus in a temporary folder, with the deterministic hash embedder."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragkit import Corpus, CorpusParts, Hit, Query, TextRecord
from ragkit.errors import (
    ConfigError,
    CorpusError,
    CorpusLockedError,
    CorpusNotFoundError,
    MissingExtraError,
)
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.lock import writer_lock
from ragkit.records import Box, Filter, FloatArray, Passage, TextLine
from tests.fakes import HashEmbedder

RECORDS = [
    TextRecord("tide", "High tide comes twice a day. Low tide follows six hours later.", "Tides"),
    TextRecord("crane", "The north crane lifts forty tonnes. It was built in 1987.", "Cranes"),
    TextRecord("pilot", "Pilots board every ship longer than ninety metres.", "Pilots"),
]


def open_corpus(tmp_path: Path, **options: object) -> Corpus:
    options.setdefault("embedder", HashEmbedder())
    return Corpus.open(tmp_path / "corpus", **options)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.document for hit in hits]


def test_records_are_added_found_and_removed(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        report = corpus.add(RECORDS)
        assert (report.added, report.failed) == (["tide", "crane", "pilot"], [])
        assert ids(corpus.search("forty tonnes crane", 1)) == ["crane"]
        assert corpus.remove(["crane", "unknown"]) == ["crane"]
        assert "crane" not in ids(corpus.search("forty tonnes crane", 10))
        assert corpus.verify() == []
        assert [document.id for document in corpus.documents()] == ["pilot", "tide"]


def test_only_new_and_changed_records_are_worked_on(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS)
        generation = corpus.info().generation
        again = corpus.add(RECORDS)
        assert (again.added, again.changed, again.unchanged) == ([], [], ["tide", "crane", "pilot"])
        assert corpus.info().generation == generation
        changed = corpus.add(TextRecord("tide", "Spring tides are higher.", "Tides"))
        assert (changed.added, changed.changed) == ([], ["tide"])
        hits = corpus.search("spring tides", 1)
        assert hits[0].passage.text == "Spring tides are higher."
        assert "twice a day" not in " ".join(hit.passage.text for hit in corpus.search("high tide twice", 10))


def test_files_are_added_changed_pruned_and_keep_their_ids(tmp_path: Path):
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    (docs / "a.md").write_text("# Rope\nRopes are checked on Mondays.")
    (docs / "sub" / "b.txt").write_text("Barges wait at the eastern quay.")
    with open_corpus(tmp_path) as corpus:
        assert corpus.add(docs).added == ["a.md", "sub/b.txt"]
        assert corpus.add([docs / "sub" / "b.txt"]).unchanged == ["sub/b.txt"]
        (docs / "a.md").write_text("# Rope\nRopes are checked on Fridays.")
        assert corpus.add(docs).changed == ["a.md"]
        (docs / "a.md").unlink()
        assert corpus.add(docs).removed == []
        assert corpus.add(docs, prune=True).removed == ["a.md"]
        assert [document.id for document in corpus.documents()] == ["sub/b.txt"]


def test_a_moved_file_keeps_its_document_and_is_not_pruned(tmp_path: Path):
    old, new = tmp_path / "v1", tmp_path / "v2"
    old.mkdir()
    (old / "x.txt").write_text("The chart room is on the upper deck.")
    with open_corpus(tmp_path) as corpus:
        corpus.add(old)
        old.rename(new)
        assert corpus.add(new).unchanged == ["x.txt"]
        report = corpus.add([new], prune=True)
        assert (report.unchanged, report.removed) == (["x.txt"], [])
        assert corpus.documents()[0].source == str(new / "x.txt")
        old.mkdir()
        (old / "x.txt").write_text("Another text under the old name.")
        corpus.add(old)
        assert len(corpus.documents()) == 2


def test_pruning_below_a_missing_or_empty_folder_removes_nothing(tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("The lamp is lit at dusk.")
    with open_corpus(tmp_path) as corpus:
        corpus.add(docs)
        (docs / "a.txt").unlink()
        report = corpus.add(docs, prune=True)
        assert report.removed == []
        assert "1 documents whose files are gone were not removed" in report.warnings[0].reason
        docs.rmdir()
        assert corpus.add(docs, prune=True).removed == []
        assert ids(corpus.search("lamp dusk", 1)) == ["a.txt"]


def test_pages_left_unread_for_want_of_ocr_are_read_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "scan.png")

    class OneLine:
        def read(self, image: Image.Image) -> list[TextLine]:
            words = ("Beacons", "are", "painted", "white")
            return [TextLine(words, (Box(0.1, 0.1, 0.2, 0.2),) * len(words))]

    def missing(_: object) -> OneLine:
        raise MissingExtraError("rapidocr is not installed")

    with open_corpus(tmp_path) as corpus:
        monkeypatch.setattr("ragkit.assemble.make_ocr", missing)
        report = corpus.add(tmp_path / "scan.png")
        assert any("rapidocr" in warning.reason for warning in report.warnings)
        monkeypatch.setattr("ragkit.assemble.make_ocr", lambda _: OneLine())
        assert corpus.add(tmp_path / "scan.png").changed == ["scan.png"]
        assert ids(corpus.search("painted beacons", 1)) == ["scan.png"]
        assert corpus.add(tmp_path / "scan.png").unchanged == ["scan.png"]


def test_records_and_files_do_not_take_each_others_ids(tmp_path: Path):
    file = tmp_path / "note.txt"
    file.write_text("Text of the file.")
    with open_corpus(tmp_path) as corpus:
        corpus.add(TextRecord("note.txt", "Text of the record."))
        assert corpus.add(file).added[0].startswith("note~")
        assert sorted(hit.passage.text for hit in corpus.search("text", 5)) == [
            "Text of the file.",
            "Text of the record.",
        ]
        other = corpus.add(TextRecord(corpus.documents()[1].id, "Not this."))
        assert "has this id" in other.failed[0].reason
        twice = corpus.add([TextRecord("a", "First."), TextRecord("a", "Second."), TextRecord("", "Third.")])
        assert (twice.added, [problem.path for problem in twice.failed]) == (["a"], ["a", ""])


def test_text_that_cannot_be_stored_is_made_storable(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add([TextRecord("nul", "First part.\0 Zebras graze."), TextRecord("half", "Broken \ud800 letter.")])
        assert corpus.verify() == []
        texts = {hit.passage.document: hit.passage.text for hit in corpus.search("zebras graze", 5)}
        assert texts == {"nul": "First part.\ufffd Zebras graze.", "half": "Broken ? letter."}


def test_a_long_page_takes_time_in_proportion(tmp_path: Path):
    config = {"embedder": {"name": "none"}}
    with Corpus.open(tmp_path / "corpus", config=config) as corpus:
        started = time.process_time()
        corpus.add(TextRecord("long", "The tide turned again. " * 100_000))
        assert time.process_time() - started < 30
        assert corpus.search("tide", 1)


def test_removing_what_is_not_there_commits_nothing(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS)
        generation = corpus.info().generation
        assert corpus.remove("unknown") == []
        assert corpus.info().generation == generation


def test_two_files_of_one_name_are_two_documents(tmp_path: Path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.txt").write_text(f"Text in folder {folder}.")
    with open_corpus(tmp_path) as corpus:
        corpus.add([tmp_path / "x", tmp_path / "y"])
        found = [document.id for document in corpus.documents()]
        assert found[0] == "same.txt"
        assert found[1].startswith("same~")
        assert len(corpus.add([tmp_path / "y", tmp_path / "x"]).unchanged) == 2
        assert len(corpus.documents()) == 2


def test_a_failed_new_version_leaves_the_old_one(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_text("The ledger is kept in the tower.")
    with open_corpus(tmp_path) as corpus:
        corpus.add(file)
        file.write_bytes(b"")
        report = corpus.add(file)
        assert len(report.failed) == 1
        assert "the version indexed earlier stays" in report.failed[0].reason
        assert ids(corpus.search("ledger tower", 1)) == ["a.txt"]


def test_levels_and_document_filter(tmp_path: Path):
    text = "Anchors are red. " * 40 + "Ropes are blue. " * 40
    with open_corpus(tmp_path, config={"passages": {"max_tokens": 20, "overlap_tokens": 0}}) as corpus:
        corpus.add([TextRecord("long", text), TextRecord("short", "Anchors are green.")])
        assert len(corpus.search("anchors", 30)) > 5
        assert sorted(ids(corpus.search("anchors", 30, level="document"))) == ["long", "short"]
        assert ids(corpus.search("anchors", 2, level="page")) in (["long", "short"], ["short", "long"])
        assert set(ids(corpus.search("anchors", 30, documents=["short"]))) == {"short"}
        assert corpus.search("anchors", 30, documents=["no such"]) == []


def test_another_embedder_is_refused_by_name(tmp_path: Path):
    open_corpus(tmp_path).add(RECORDS)
    with (
        pytest.raises(CorpusError, match=r"'HashEmbedder' \(fingerprint hash-64, 64.*hash-32, 32"),
        open_corpus(tmp_path, embedder=HashEmbedder(32)) as corpus,
    ):
        corpus.search("tide")


def test_a_corpus_without_vectors_searches_by_terms(tmp_path: Path):
    config = {"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}
    with Corpus.open(tmp_path / "corpus", config=config) as corpus:
        corpus.add(RECORDS)
        assert ids(corpus.search("forty tonnes", 3)) == ["crane"]
        assert corpus.verify() == []
    with Corpus.open(tmp_path / "corpus") as corpus:
        assert ids(corpus.search("forty tonnes", 3)) == ["crane"]
        assert not (tmp_path / "corpus" / "vectors").exists()
    with (
        Corpus.open(tmp_path / "corpus", config={"retrieval": {"method": "dense"}}) as corpus,
        pytest.raises(ConfigError, match="needs vectors"),
    ):
        corpus.search("tide")


def test_settings_are_remembered_and_changes_rework_documents(tmp_path: Path):
    with open_corpus(tmp_path, config={"passages": {"max_tokens": 8, "overlap_tokens": 0}}) as corpus:
        corpus.add(RECORDS)
        count = corpus.info().num_passages
    with open_corpus(tmp_path) as corpus:
        assert corpus.config.passages.max_tokens == 8
        assert len(corpus.add(RECORDS).unchanged) == 3
    with open_corpus(tmp_path, config={"passages": {"max_tokens": 100}}) as corpus:
        assert len(corpus.add(RECORDS).changed) == 3
        assert corpus.info().num_passages == 3 < count


def test_settings_given_at_creation_are_remembered_without_an_add(tmp_path: Path):
    open_corpus(tmp_path, config={"passages": {"max_tokens": 40}}).close()
    with open_corpus(tmp_path) as corpus:
        assert corpus.config.passages.max_tokens == 40


class Reversing:
    """A reranker that turns the order around."""

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        return [Hit(float(place), hit.passage) for place, hit in reversed(list(enumerate(hits)))]


def test_only_the_first_hits_are_reranked_and_the_others_follow(tmp_path: Path):
    plain = open_corpus(tmp_path)
    plain.add([TextRecord(f"d{i}", "tide " * (i + 1) + "rope") for i in range(6)])
    expected = ids(plain.search("tide", 6))
    with open_corpus(tmp_path, reranker=Reversing(), config={"rerank": {"depth": 3}}) as corpus:
        hits = corpus.search("tide", 6, level="document")
        assert ids(hits) == expected[2::-1] + expected[3:]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert ids(corpus.search("tide", 2)) == expected[2:0:-1]


def test_a_second_writer_is_refused_and_named(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS[:1])
        with writer_lock(corpus.path), pytest.raises(CorpusLockedError, match=r"process \d+ on"):
            corpus.add(RECORDS)
        assert len(corpus.add(RECORDS).added) == 2


def test_an_open_corpus_sees_what_another_writes(tmp_path: Path):
    with open_corpus(tmp_path) as reader, open_corpus(tmp_path) as writer:
        writer.add(RECORDS[:2])
        assert "pilot" not in ids(reader.search("pilots board ships", 5))
        writer.add(RECORDS[2])
        assert ids(reader.search("pilots board ships", 1)) == ["pilot"]


def test_missing_and_foreign_folders(tmp_path: Path):
    with pytest.raises(CorpusNotFoundError, match="ragkit index"):
        Corpus.open(tmp_path / "none", create=False)
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(CorpusError, match="holds other files"):
        Corpus.open(tmp_path, embedder=HashEmbedder())


class ShortestFirst:
    """A user's own retriever: the shortest passages, whatever is asked."""

    def __init__(self, parts: CorpusParts) -> None:
        self._store = parts.store

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        passages = self._store.passages(self._store.keys(where).tolist())
        hits = [Hit(1 / len(passage.text), passage) for passage in passages]
        return [sorted(hits, key=lambda hit: -hit.score)[:k] for _ in queries]


def test_a_users_own_retriever(tmp_path: Path):
    with open_corpus(tmp_path, retriever=ShortestFirst) as corpus:
        corpus.add(RECORDS)
        assert ids(corpus.search("anything", 1)) == ["pilot"]


class WrongShape(HashEmbedder):
    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        return np.zeros((1, 3), np.float32)


def test_an_embedder_of_the_wrong_shape_is_named(tmp_path: Path):
    with (
        open_corpus(tmp_path, embedder=WrongShape()) as corpus,
        pytest.raises(ConfigError, match=r"\(1, 3\)"),
    ):
        corpus.add(RECORDS)


def test_progress_is_told(tmp_path: Path):
    steps = []
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS, progress=steps.append)
    assert {step.stage for step in steps} >= {"read", "embed"}
    assert all(step.documents_total == 3 for step in steps)
    assert steps[-1].passages_done == 3


def test_ask_works_inside_a_running_event_loop(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS)

        async def notebook() -> str:
            return corpus.ask("How much does the north crane lift?").text

        assert "forty tonnes" in asyncio.run(notebook())


def test_many_questions_leave_few_files_open(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS)
        corpus.ask("How much does the north crane lift?")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            corpus.ask("How much does the north crane lift?")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


def test_damage_is_found_and_named(tmp_path: Path):
    with open_corpus(tmp_path) as corpus:
        corpus.add(RECORDS)
        shard = next((corpus.path / "vectors").glob("*.vectors.npy"))
        raw = bytearray(shard.read_bytes())
        raw[-1] ^= 1
        shard.write_bytes(raw)
        assert [problem for problem in corpus.verify() if shard.name in problem and "altered" in problem]
        shard.unlink()
        assert [problem for problem in corpus.verify() if shard.name in problem and "missing" in problem]


def test_the_manifest_is_readable_and_checked(tmp_path: Path):
    open_corpus(tmp_path).add(RECORDS)
    path = tmp_path / "corpus" / "manifest.json"
    facts = json.loads(path.read_text())
    assert (facts["embedder"]["name"], facts["embedder"]["dim"]) == ("HashEmbedder", 64)
    facts["format_version"] = 99
    path.write_text(json.dumps(facts))
    with pytest.raises(CorpusError, match="format version 99"):
        open_corpus(tmp_path)


def test_an_index_that_cannot_be_had_is_refused_before_anything_is_indexed(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder(), config={"index": {"kind": "ivfpq"}}) as corpus:
        with pytest.raises(ConfigError, match=r"index\.kind = 'ivfpq' is none of auto"):
            corpus.add(TextRecord("a", "tide"))
        assert corpus.documents() == []


def test_a_deleted_lock_file_lets_nobody_in(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus, writer_lock(corpus.path):
        (corpus.path / "writer.lock").unlink()
        with pytest.raises(CorpusLockedError, match="is being written to by an unknown process"):
            corpus.add(TextRecord("a", "tide"))


def test_shards_are_merged_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ragkit.indexers.build_index._COMMIT_PASSAGES", 1)
    most = 0

    def count(_: IndexProgress) -> None:
        nonlocal most
        most = max(most, len(list((tmp_path / "c" / "vectors").glob("*.keys.npy"))))

    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add([TextRecord(f"d{i}", f"tide {i}") for i in range(100)], progress=count)
        assert len(corpus.search("tide", 200)) == 100
        assert corpus.verify() == []
    assert 10 < most <= 20


def test_a_query_vector_that_is_not_finite_is_refused(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder(), config={"retrieval": {"method": "dense"}}) as corpus:
        corpus.add(TextRecord("a", "tide"))
        with pytest.raises(ConfigError, match="a query's vector is not finite"):
            corpus.search(Query("tide", dense=np.full(64, np.nan, np.float32)))
