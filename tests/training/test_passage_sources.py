"""Passages of corpora and collections, and that what tests ask for is not among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.records import TextRecord
from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.training.passage_sources import beir_pool, corpus_pool, other_splits

RELEVANT = "Iron bridges expand in the summer heat, so their ends rest on rollers."
NEAR = "IRON BRIDGES expand in the summer-heat; so their ends rest on rollers (3)"
OTHER = "Willows are planted where the bank of a river is soft."


def write_collection(folder: Path, documents: dict[str, tuple[str, str]], qrels: dict[str, str]) -> Path:
    """documents: title and text by id. qrels: lines of query, document and grade by split."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": id_, "title": title, "text": text} for id_, (title, text) in documents.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": "?"}) + "\n" for n in range(9))
    )
    for split, lines in qrels.items():
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    documents = {
        "d1": ("Bridges", RELEVANT),
        "d2": ("Copy", NEAR),
        "d3": ("Rivers", OTHER),
        "d4": ("", "A weir holds the water back for the mill."),
        "d5": ("A title without a text", " "),
        "d6": ("Short", "1842-1843"),
        "d7": ("Again", OTHER.upper()),
    }
    return write_collection(
        tmp_path / "set",
        documents,
        {"test": "q1\td1\t1\nq1\td3\t0\n", "dev": "q2\td4\t1\n", "train": "q3\td3\t1\n"},
    )


def test_all_splits_but_train_are_held_out_with_near_duplicates(collection: Path) -> None:
    pool = beir_pool(collection)
    assert pool.passages == (
        TrainingPassage("d3", OTHER, "Rivers", "d3"),
        TrainingPassage("d5", "A title without a text", "", "d5"),
    )
    assert (pool.found, pool.held_out, pool.short, pool.repeated) == (7, 3, 1, 1)
    assert pool.splits == ("dev", "test")


def test_a_named_split_alone_is_held_out(collection: Path) -> None:
    assert [passage.id for passage in beir_pool(collection, ["train"]).passages] == ["d1", "d4", "d5"]
    assert [passage.id for passage in beir_pool(collection, ["test"]).passages] == ["d3", "d4", "d5"]
    with pytest.raises(DataError, match="splits here: dev, test, train"):
        beir_pool(collection, ["tset"])


def test_a_collection_without_judgements_holds_nothing_out(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", {"d1": ("", RELEVANT)}, {})
    assert other_splits(folder) == ()
    assert beir_pool(folder).passages == (TrainingPassage("d1", RELEVANT, "", "d1"),)


def test_a_collection_of_held_out_documents_alone_is_an_error(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", {"d1": ("", RELEVANT)}, {"test": "q1\td1\t1\n"})
    with pytest.raises(DataError, match="no passage to train on: of 1, 1 are held out"):
        beir_pool(folder)


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order(tmp_path: Path) -> None:
    documents = {f"d{n}": ("", f"The {chr(97 + n) * 9} of many.") for n in range(20)}
    folder = write_collection(tmp_path / "set", documents, {})
    drawn = [[passage.id for passage in beir_pool(folder, limit=8, seed=seed).passages] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for ids in drawn:
        assert len(ids) == 8
        assert ids == sorted(ids, key=list(documents).index)


def test_passages_of_a_corpus_are_known_by_where_they_stand(tmp_path: Path) -> None:
    records = [TextRecord("b", OTHER, "Rivers"), TextRecord("a", f"{RELEVANT} {NEAR}", "Bridges")]
    config = {"embedder": {"name": "none"}, "passages": {"max_tokens": 24, "overlap_tokens": 0}}
    with Corpus.open(tmp_path / "corpus", config=config) as corpus:
        corpus.add(records)
        pool = corpus_pool(corpus)
    first, last = pool.passages
    assert first == TrainingPassage(f"a#1:0-{len(RELEVANT)}", RELEVANT, "Bridges", "a")
    assert last == TrainingPassage(f"b#1:0-{len(OTHER)}", OTHER, "Rivers", "b")
    assert (pool.found, pool.repeated, pool.splits) == (3, 1, ())
