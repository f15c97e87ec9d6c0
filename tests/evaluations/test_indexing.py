from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.config import parse_config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.evaluations.indexing import index_all
from ragkit.records import TextRecord


def test_one_that_cannot_be_indexed_is_told_and_the_others_are_kept(tmp_path: Path) -> None:
    config = parse_config({"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}})
    with Corpus.open(tmp_path / "corpus", config=config) as corpus:
        index_all(corpus, [TextRecord("a", "red crane")])
        with pytest.raises(DataError, match=r"^1 pictures cannot be indexed: b.*: "):
            index_all(corpus, [TextRecord("b\ud800", "blue"), TextRecord("c", "green")], what="pictures")
        assert [document.id for document in corpus.documents()] == ["a", "c"]
