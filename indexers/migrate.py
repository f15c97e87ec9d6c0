"""Bringing a corpus of an earlier format version up to the present one."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np

from ragkit.config import LexicalConfig
from ragkit.errors import CorpusError
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical.lexical_upkeep import rebuild_lexical
from ragkit.indexers.lock import writer_lock
from ragkit.indexers.manifest import FILE_NAME, FORMAT_VERSION, read_manifest, write_manifest
from ragkit.indexers.shards import held_keys, sweep
from ragkit.indexers.store import SqlitePassageStore

# What version 2 called the files of its BM25 index, which was replaced as a whole at every change.
_OLD_LEXICAL = "lexical"


def migrate(corpus: Path) -> None:
    """Change a corpus of version 2 in place; nothing is embedded again. One of the present version is left alone.

    The manifest, with the new version, is written last: a migration that is killed begins again.

    Raises:
        CorpusError: the folder cannot be written to.
        CorpusDamagedError: the version is unknown, or a file is damaged.
    """
    if _version(corpus) != 2:
        return
    try:
        with writer_lock(corpus):
            manifest = read_manifest(corpus, accept=2)
            if manifest.format_version == 2:
                _migrate_from_2(corpus)
                write_manifest(corpus, replace(manifest, format_version=FORMAT_VERSION))
    except (OSError, sqlite3.OperationalError) as error:
        raise CorpusError(
            f"{corpus} has format version 2 and is brought to {FORMAT_VERSION} when it is first opened, which "
            f"failed: {error}. Open it once where it can be written to"
        ) from error


def _version(corpus: Path) -> object:
    try:
        return json.loads((corpus / FILE_NAME).read_text("utf-8"))["format_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # Whoever reads the manifest next says what is wrong with it.


def _migrate_from_2(corpus: Path) -> None:
    catalogue = Catalogue(corpus)
    try:
        catalogue.add_tables()
        living = SqlitePassageStore(catalogue).keys()
        held = np.unique(np.concatenate([np.zeros(0, np.int64), *map(np.asarray, held_keys(corpus, catalogue))]))
        with catalogue.transaction():
            catalogue.set_dead(np.setdiff1d(held, living))
            catalogue.drop_files(catalogue.files(_OLD_LEXICAL))
        rebuild_lexical(corpus, catalogue, LexicalConfig.model_validate(catalogue.settings.get("lexical", {})))
        sweep(corpus, catalogue)
    finally:
        catalogue.close()
