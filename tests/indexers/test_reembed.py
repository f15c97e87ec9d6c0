"""Switching the embedder of texts: what a corpus then holds is what the new one would have made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import Corpus
from ragkit.errors import ConfigError, CorpusError
from ragkit.indexers import reembed
from ragkit.indexers.manifest import facts_of
from ragkit.indexers.unfinished_vectors import UnfinishedVectors
from ragkit.indexers.vectors.vector_shards import FORMER_TEXTS
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf
from tests.switching import BackwardEmbedder, contents, fresh, hits, open_with, records

GIVEN = records(0, 30)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    opened = fresh(tmp_path / "c", HashEmbedder(), GIVEN)
    yield opened
    opened.close()


def test_it_holds_what_a_corpus_of_the_new_embedder_holds(tmp_path: Path, corpus: Corpus):
    old = hits(corpus)
    report = corpus.switch_embedder(BackwardEmbedder())
    assert (report.embedder.name, report.former.name) == ("BackwardEmbedder", "HashEmbedder")
    assert (report.num_embedded, report.num_passages, report.warnings) == (60, 60, [])
    with fresh(tmp_path / "fresh", BackwardEmbedder(), GIVEN) as expected:
        assert contents(corpus) == contents(expected)
        assert hits(corpus) == hits(expected) != old
    assert corpus.verify() == []
    assert corpus.info().embedder.fingerprint == "backward-48"
    assert corpus.info().former_embedder.fingerprint == "hash-64"
    # What makes no vectors of texts stays: manifest.json says what the corpus began with.
    assert '"hash-64"' in (corpus.path / "manifest.json").read_text()


def test_it_is_opened_with_the_new_embedder_and_with_no_other(corpus: Corpus):
    corpus.switch_embedder(BackwardEmbedder())
    expected = hits(corpus)
    with open_with(corpus.path, BackwardEmbedder()) as opened:
        assert hits(opened) == expected
    with (
        open_with(corpus.path, HashEmbedder()) as opened,
        pytest.raises(CorpusError, match=r"'BackwardEmbedder' .*is opened with 'HashEmbedder'.*train back"),
    ):
        opened.search("crane")


def test_what_was_removed_stays_removed_and_filters_hold(tmp_path: Path, corpus: Corpus):
    gone = ["d003", "d010", "d029"]
    corpus.remove(gone)
    report = corpus.switch_embedder(BackwardEmbedder())
    assert report.num_embedded == 60 - 1 - 2 - 3
    left = [record for record in GIVEN if record.id not in gone]
    with fresh(tmp_path / "fresh", BackwardEmbedder(), left) as expected:
        assert contents(corpus) == contents(expected)
        for colour in ("red", "green", "blue"):
            assert hits(corpus, where=f"colour = {colour}") == hits(expected, where=f"colour = {colour}")
    assert corpus.verify() == []


def test_adding_and_removing_go_on_with_the_new_embedder(tmp_path: Path, corpus: Corpus):
    corpus.switch_embedder(BackwardEmbedder())
    with open_with(corpus.path, BackwardEmbedder()) as opened:
        report = opened.add(records(20, 40))
        assert (len(report.added), len(report.unchanged)) == (10, 10)
        opened.remove(["d001", "d035"])
        opened.compact()
        left = [record for record in records(0, 40) if record.id not in ("d001", "d035")]
        with fresh(tmp_path / "fresh", BackwardEmbedder(), left) as expected:
            assert contents(opened) == contents(expected)
        assert (opened.verify(), opened.info().num_dead) == ([], 0)


def test_going_back_embeds_nothing_and_twice_is_forth_again(corpus: Corpus):
    old, old_hits = contents(corpus), hits(corpus)
    corpus.switch_embedder(BackwardEmbedder())
    new, new_hits = contents(corpus), hits(corpus)
    back = corpus.switch_back()
    assert (back.embedder.name, back.former.name, back.num_embedded) == ("HashEmbedder", "BackwardEmbedder", 0)
    assert (contents(corpus), hits(corpus), corpus.verify()) == (old, old_hits, [])
    forth = corpus.switch_back()
    assert (forth.embedder.name, forth.num_embedded) == ("BackwardEmbedder", 0)
    assert (contents(corpus), hits(corpus), corpus.verify()) == (new, new_hits, [])


def test_going_back_after_changes_embeds_what_was_added_alone(tmp_path: Path, corpus: Corpus):
    corpus.switch_embedder(BackwardEmbedder())
    corpus.remove(["d000", "d005"])
    corpus.add(records(30, 33))
    back = corpus.switch_back()
    assert back.num_embedded == 1 + 2 + 3
    left = [record for record in records(0, 33) if record.id not in ("d000", "d005")]
    with fresh(tmp_path / "fresh", HashEmbedder(), left) as expected:
        assert contents(corpus) == contents(expected)
        assert hits(corpus) == hits(expected)
    assert corpus.verify() == []
    corpus.compact()
    assert (corpus.verify(), corpus.info().num_dead) == ([], 0)


def test_the_way_back_is_to_the_last_one_only(corpus: Corpus):
    corpus.switch_embedder(BackwardEmbedder())
    corpus.switch_embedder(HashEmbedder(32))
    assert corpus.info().former_embedder.name == "BackwardEmbedder"
    assert len(list((corpus.path / "vectors").iterdir())) == 4
    # The former one is known by its fingerprint, however it is asked for.
    assert corpus.switch_embedder(BackwardEmbedder()).num_embedded == 0
    assert corpus.switch_embedder(HashEmbedder()).num_embedded == 60
    assert corpus.verify() == []


@pytest.mark.parametrize("kind", ["hnsw", "ivf-sq8", "numpy"])
def test_the_index_is_built_and_its_recall_measured_before_the_switch(tmp_path: Path, kind: str):
    index = {"kind": kind, "min_vectors": 40, "recall_target": 0.9}
    with fresh(tmp_path / "c", HashEmbedder(), records(0, 200), index=index) as corpus:
        before = corpus.info()
        report = corpus.switch_embedder(BackwardEmbedder())
        after = corpus.info()
        # One commit of the switch, and none for the index behind it.
        assert after.generation == before.generation + 1 == report.generation
        assert len(after.indexes) == len(before.indexes) == (kind != "numpy")
        for facts in after.indexes.values():
            assert (facts.num_vectors, facts.recall >= 0.9) == (report.num_passages, True)
        assert corpus.verify() == []
        corpus.switch_back()
        assert corpus.info().indexes == before.indexes


def test_a_killed_run_goes_on_with_what_it_had_embedded(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reembed, "_PIECE_PASSAGES", 8)

    def stop(done: int, total: int) -> None:
        if done >= 27:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.switch_embedder(BackwardEmbedder(), progress=stop)
    # Meanwhile the corpus changes, still with the old embedder.
    corpus.remove("d004")
    corpus.add(records(30, 31))
    assert corpus.verify() == []
    new = BackwardEmbedder()
    told: list[tuple[int, int]] = []
    report = corpus.switch_embedder(new, progress=lambda done, total: told.append((done, total)))
    # 32 were embedded, the last 8 of them not written; two of the 24 are of the removed document.
    assert (told[0], told[-1], new.embedded) == ((22, 59), (59, 59), 37)
    assert report.num_embedded == 59
    assert corpus.verify() == []
    assert not (corpus.path / "reembedding").exists()


def test_pieces_that_are_damaged_are_made_again(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reembed, "_PIECE_PASSAGES", 8)

    def stop(done: int, total: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.switch_embedder(BackwardEmbedder(), progress=stop)
    [second] = corpus.path.glob("reembedding/*/00000002.vectors.npy")
    second.write_bytes(second.read_bytes()[:-100])
    new = BackwardEmbedder()
    corpus.switch_embedder(new)
    assert new.embedded == 60 - 8
    with fresh(tmp_path / "fresh", BackwardEmbedder(), GIVEN) as expected:
        assert contents(corpus) == contents(expected)


def test_what_lies_behind_a_damaged_piece_is_never_read_again(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reembed, "_PIECE_PASSAGES", 8)

    def stop(done: int, total: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.switch_embedder(BackwardEmbedder(), progress=stop)
    [first] = corpus.path.glob("reembedding/*/00000001.keys.npy")
    names = sorted(path.name for path in first.parent.iterdir())
    assert len(names) == 2 * 4
    (first.parent / "00000002.keys.npy").unlink()
    facts = facts_of(BackwardEmbedder())
    assert [piece.generation for piece in UnfinishedVectors(corpus.path, facts).pieces] == [1]
    assert sorted(path.name for path in first.parent.iterdir()) == names[:2]


def test_an_embedder_that_makes_no_vectors_leaves_the_corpus_as_it_was(corpus: Corpus):
    class Broken(BackwardEmbedder):
        def embed_passages(self, passages):
            return super().embed_passages(passages) * 2

    before, state = hits(corpus), corpus.info().generation
    with pytest.raises(ConfigError, match="length 2"):
        corpus.switch_embedder(Broken())
    assert (hits(corpus), corpus.info().generation, corpus.verify()) == (before, state, [])


def test_page_pictures_keep_their_vectors(tmp_path: Path):
    make_pdf(tmp_path / "a.pdf", [PdfPage(text="The crane lifts ropes.", drawing=b"0 0 306 792 re f")])
    settings = {"pages": {"embed": "both", "dpi": 36}, "passages": {"max_tokens": 16}}
    pages = ThumbnailEmbedder()
    with Corpus.open(tmp_path / "c", config=settings, embedder=HashEmbedder(), page_embedder=pages) as corpus:
        corpus.add(tmp_path / "a.pdf")
        before = {file for file in corpus._catalogue.files() if file.path.startswith("page_vectors")}
        read = len(pages.batches)
        report = corpus.switch_embedder(BackwardEmbedder())
        assert (report.num_embedded, len(pages.batches)) == (1, read)
        after = {file for file in corpus._catalogue.files() if file.path.startswith("page_vectors")}
        assert before == after != set()
        assert corpus.verify() == []
        assert corpus.search("left", 1)[0].passage.document == "a.pdf"


def test_an_empty_corpus_is_switched_too(tmp_path: Path):
    with open_with(tmp_path / "c", HashEmbedder()) as corpus:
        assert corpus.switch_embedder(BackwardEmbedder()).num_passages == 0
        corpus.add(GIVEN)
        with fresh(tmp_path / "fresh", BackwardEmbedder(), GIVEN) as expected:
            assert contents(corpus) == contents(expected)
        assert corpus.switch_back().num_embedded == 60
        assert corpus.verify() == []


def test_lost_vectors_are_made_again_by_the_embedder_in_use(tmp_path: Path, corpus: Corpus):
    corpus.switch_embedder(BackwardEmbedder())
    [path] = [corpus.path / file.path for file in corpus._catalogue.files("vectors")]
    path.unlink()
    assert corpus.verify()
    assert corpus.repair().left == []
    with fresh(tmp_path / "fresh", BackwardEmbedder(), GIVEN) as expected:
        assert contents(corpus) == contents(expected)


def test_damaged_former_vectors_are_found_dropped_and_made_again_when_wanted(tmp_path: Path, corpus: Corpus):
    corpus.switch_embedder(BackwardEmbedder())
    [path] = [corpus.path / file.path for file in corpus._catalogue.files(FORMER_TEXTS.vectors_kind)]
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert "was altered" in corpus.verify()[0]
    report = corpus.repair()
    assert (report.left, len(report.done)) == ([], 1)
    assert "former embedder's vectors were damaged" in report.done[0]
    assert corpus.switch_back().num_embedded == 60
    with fresh(tmp_path / "fresh", HashEmbedder(), GIVEN) as expected:
        assert contents(corpus) == contents(expected)


def test_damaged_former_vectors_are_not_switched_to(corpus: Corpus):
    old = contents(corpus)
    corpus.switch_embedder(BackwardEmbedder())
    [path] = [corpus.path / file.path for file in corpus._catalogue.files(FORMER_TEXTS.vectors_kind)]
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert corpus.switch_back().num_embedded == 60
    assert (contents(corpus), corpus.verify()) == (old, [])


def test_there_must_be_a_former_one_and_vectors(tmp_path: Path, corpus: Corpus):
    with pytest.raises(CorpusError, match="no former embedder to go back to"):
        corpus.switch_back()
    again = corpus.switch_embedder(HashEmbedder())
    assert (again.former, again.num_embedded) == (None, 0)
    with (
        Corpus.open(tmp_path / "words", config={"embedder": {"name": "none"}}) as words,
        pytest.raises(CorpusError, match="made without an embedder of texts"),
    ):
        words.switch_embedder(BackwardEmbedder())
