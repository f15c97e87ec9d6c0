"""A corpus of format version 2 opens, searches as it did, and is of the present version afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ragkit import Corpus
from ragkit.errors import CorpusDamagedError, CorpusError
from ragkit.indexers.manifest import FORMAT_VERSION
from ragkit.indexers.migrate import migrate
from ragkit.records import TextRecord
from tests.fakes import HashEmbedder

OLD = Path(__file__).parents[1] / "golden" / "corpus_v2"
# What ragkit at commit c406ae2 found there for "crane quay five".
FOUND = [("d5", 1.0), ("d9", 0.2964), ("d6", 0.2642), ("d1", 0.2635)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    shutil.copytree(OLD, corpus)
    (corpus / "README.md").unlink()
    return corpus


def opened(path: Path) -> Corpus:
    return Corpus.open(path, embedder=HashEmbedder(), create=False)


def test_it_searches_as_before_and_goes_on(old: Path):
    with opened(old) as corpus:
        hits = corpus.search("crane quay five", 4)
        assert [(hit.passage.document, round(hit.score, 4)) for hit in hits] == FOUND
        assert corpus.info().format_version == FORMAT_VERSION
        assert corpus.info().num_dead == 3
        assert corpus.verify() == []
        later = corpus.search("quay", 9, where="year >= 2008")
        assert {hit.passage.document for hit in later} == {"d8", "d9"}
        corpus.add(TextRecord("d12", "A crane of quay five, painted anew."))
        assert corpus.search("painted anew", 1)[0].passage.document == "d12"
        assert corpus.verify() == []
        corpus.compact()
        assert corpus.info().num_dead == 0
        assert corpus.verify() == []
    assert not [path for path in (old / "lexical").iterdir() if path.is_dir()]


def test_a_migration_cut_short_begins_again(old: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("ragkit.indexers.migrate.write_manifest", fail)
        with pytest.raises(CorpusError, match=r"has format version 2 .* No space left on device"):
            opened(old)
    assert json.loads((old / "manifest.json").read_text())["format_version"] == 2
    migrate(old)
    with opened(old) as corpus:
        assert corpus.verify() == []
        np.testing.assert_array_equal(corpus.store.keys(), [0, 1, 2, 6, 7, 8, 9, 10, 11])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_it_cannot_be_written_the_error_says_so(old: Path):
    old.chmod(0o555)
    try:
        with pytest.raises(CorpusError, match="cannot be written to"):
            opened(old)
    finally:
        old.chmod(0o755)


@pytest.mark.parametrize("version", [1, 4, "x"])
def test_other_versions_are_refused(old: Path, version: object):
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "format_version": version}))
    with pytest.raises(
        CorpusDamagedError, match=f"has format version {version}; this ragkit reads {FORMAT_VERSION}"
    ):
        opened(old)
