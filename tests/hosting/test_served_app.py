"""What `ragkit serve` makes of corpora and a store, before anything is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.hosting import served_app as served
from ragkit.hosting.process_embedder import WORKER, ProcessEmbedder
from ragkit.records import TextRecord
from tests.processes import children, wait_until


def test_corpora_and_stores_of_the_same_settings_share_one_process_that_embeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Corpus.open(tmp_path / "papers") as corpus:
        corpus.add([TextRecord("lake", "The lake is deep.")])
    libraries: list[Any] = []
    monkeypatch.setattr(served, "create_app", lambda library, *_: libraries.append(library))
    # The test's own threads keep their cores.
    monkeypatch.setattr(served, "share_cores", lambda _: None)
    with served.served_app(Config(), [tmp_path / "papers"], tmp_path / "store"):
        (library,) = libraries
        embedder = library.corpus("papers").embedder
        assert isinstance(embedder, ProcessEmbedder)
        assert library._stores._models.embedders.texts is embedder
        assert len(children(WORKER[-1], os.getpid())) == 1
        (hits,) = library.corpus("papers").search_many(["how deep is it?"], 1)
        assert hits[0].passage.document == "lake"
    wait_until(lambda: not children(WORKER[-1], os.getpid()))
