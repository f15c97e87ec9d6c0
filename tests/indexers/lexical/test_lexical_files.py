"""The lexical shards of a corpus: commits, merging, and the language that all of them decide on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.config import LexicalConfig
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.lexical.lexical_files import (
    KIND,
    analyzer_for,
    merge_lexical,
    must_rewrite,
    open_lexical,
    open_shards,
    rewrite_all,
    write_built_shard,
)
from ragkit.indexers.lexical.lexical_shards import build_shard
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.store import SqlitePassageStore
from ragkit.records import Page

ENGLISH = "The harbour was closed for three days because of the storm, and it is not known when ships will return."
GERMAN = "Der Hafen war wegen des Sturms drei Tage geschlossen, und es ist nicht bekannt, wann die Schiffe fahren."
AUTO = LexicalConfig()
NONE = np.zeros(0, np.int64)


def commit(corpus: Path, catalogue: Catalogue, name: str, text: str, config: LexicalConfig = AUTO) -> int:
    with catalogue.transaction() as generation:
        document = NewDocument(name, "", "", "", "", "", [Page(1, text)], [(1, 0, len(text))])
        keys = catalogue.add_document(document)
        analyzer = analyzer_for(corpus, catalogue.files(KIND), [text], config)
        catalogue.add_file(write_built_shard(corpus, generation, build_shard(np.array(keys), [text], analyzer)))
    return keys[0]


def fresh(catalogue: Catalogue) -> Bm25Index:
    """The index of all texts, made at once in memory."""
    store = SqlitePassageStore(catalogue)
    keys = store.keys(kind="text")
    return Bm25Index.build(keys, [passage.titled_text for passage in store.passages(keys.tolist())], AUTO)


def test_the_first_commit_decides_and_later_ones_follow(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    commit(tmp_path, catalogue, "a", GERMAN)
    commit(tmp_path, catalogue, "b", ENGLISH)
    files = catalogue.files(KIND)
    assert open_lexical(tmp_path, files, NONE, AUTO).language == "german"
    # One of each: no language has two thirds.
    assert must_rewrite(tmp_path, files, NONE, AUTO)
    assert not must_rewrite(tmp_path, files, NONE, LexicalConfig(language="german"))
    assert must_rewrite(tmp_path, files, NONE, LexicalConfig(language="german", ngram=3))
    assert not must_rewrite(tmp_path, [], NONE, AUTO)


def test_a_removed_passage_votes_no_more(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    commit(tmp_path, catalogue, "a", GERMAN)
    key = commit(tmp_path, catalogue, "b", ENGLISH)
    assert not must_rewrite(tmp_path, catalogue.files(KIND), np.array([key]), AUTO)


def test_writing_anew_equals_a_fresh_build(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    commit(tmp_path, catalogue, "a", GERMAN)
    first = catalogue.files(KIND)
    for i in range(4):
        commit(tmp_path, catalogue, f"b{i}", f"{ENGLISH} Ship number{i} was closing.")
    with catalogue.transaction() as generation:
        catalogue.drop_files(catalogue.files(KIND))
        catalogue.add_file(rewrite_all(tmp_path, catalogue, generation, AUTO))
    files = catalogue.files(KIND)
    assert len(files) == 1
    assert files[0].path == "lexical/00000006.lexical"
    assert not must_rewrite(tmp_path, files, NONE, AUTO)
    index = open_lexical(tmp_path, files, NONE, AUTO)
    assert (index.language, len(index)) == ("english", 5)
    assert open_lexical(tmp_path, first, NONE, AUTO).language == "german"
    queries = ["closes", "Schiffe", "ship number3"]
    np.testing.assert_array_equal(index.search(queries, 5), fresh(catalogue).search(queries, 5))
    assert index.search(["closes"], 9)[1][0, :4].tolist() == [1, 2, 3, 4]


def test_a_wrong_first_guess_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ragkit.indexers.lexical.lexical_files._BATCH", 1)
    catalogue = Catalogue.create(tmp_path)
    for i, text in enumerate([GERMAN, ENGLISH, ENGLISH]):
        commit(tmp_path, catalogue, f"{i}", text)
    assert fresh(catalogue).language == "english"


def test_merging_leaves_the_dead_behind(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    keys = [commit(tmp_path, catalogue, f"{i}", f"{ENGLISH} number{i}") for i in range(3)]
    old = catalogue.files(KIND)
    dead = np.array(keys[1:2])
    with catalogue.transaction() as generation:
        catalogue.drop_files(old)
        catalogue.add_file(merge_lexical(tmp_path, generation, old, dead))
    files = catalogue.files(KIND)
    assert [len(shard) for shard in open_shards(tmp_path, old)] == [1, 1, 1]
    assert [len(shard) for shard in open_shards(tmp_path, files)] == [2]
    queries = ["harbours", "number1", "number2"]
    before, after = (open_lexical(tmp_path, state, dead, AUTO) for state in (old, files))
    np.testing.assert_array_equal(after.search(queries, 4), before.search(queries, 4))
    assert after.search(queries, 2)[1].tolist() == [[keys[0], keys[2]], [-1, -1], [keys[2], -1]]


def test_a_corpus_without_shards_is_an_empty_index(tmp_path: Path):
    index = open_lexical(tmp_path, [], NONE, AUTO)
    assert len(index) == 0
    assert index.search(["aa"], 1)[1].tolist() == [[-1]]
