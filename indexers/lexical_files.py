"""The BM25 index on disk: a folder named by its generation, made from the catalogue and replaced as a whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from ragkit.config import LexicalConfig
from ragkit.files import sync
from ragkit.indexers.bm25_index import Bm25Index
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors import stored_file

FOLDER = "lexical"
KIND = "lexical"


def refresh_lexical(corpus: Path, catalogue: Catalogue, config: LexicalConfig) -> None:
    """Write the BM25 index of the current passages, unless it is there already."""
    settings = json.loads(config.model_dump_json())
    stored = catalogue.files(KIND)
    if stored and stored[0].generation == catalogue.generation and catalogue.settings.get("lexical") == settings:
        return
    index = build_lexical(catalogue, config)
    with catalogue.transaction() as generation:
        catalogue.drop_files(stored)
        catalogue.set_settings({**catalogue.settings, "lexical": settings})
        folder = _save(index, corpus / FOLDER, generation)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                catalogue.add_file(stored_file(corpus, path, KIND, generation))


def build_lexical(catalogue: Catalogue, config: LexicalConfig) -> Bm25Index:
    """Make the index of the current passages in memory."""
    passages = SqlitePassageStore(catalogue).all_texts()
    keys = np.fromiter((passage.key for passage in passages), np.int64, len(passages))
    return Bm25Index.build(keys, [passage.titled_text for passage in passages], config)


def open_lexical(corpus: Path, catalogue: Catalogue, config: LexicalConfig) -> Bm25Index:
    """Open the index on disk; where a killed writer left it behind the catalogue, make it in memory instead."""
    stored = catalogue.files(KIND)
    if stored and stored[0].generation == catalogue.generation:
        return Bm25Index.load(corpus / FOLDER / f"{stored[0].generation:08d}")
    remembered = catalogue.settings.get("lexical")
    return build_lexical(catalogue, LexicalConfig.model_validate(remembered) if remembered else config)


def _save(index: Bm25Index, parent: Path, generation: int) -> Path:
    final, temporary = parent / f"{generation:08d}", parent / f".{generation:08d}.{os.getpid()}.tmp"
    # Left by a writer that was killed between renaming and committing: no state names it.
    shutil.rmtree(final, ignore_errors=True)
    index.save(temporary)
    for path in (*temporary.rglob("*"), temporary):
        sync(path)
    temporary.rename(final)
    sync(parent)
    sync(parent.parent)
    return final
