"""Making an empty corpus."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ragkit.errors import CorpusError
from ragkit.indexers import catalogue, lock, manifest
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.lock import writer_lock
from ragkit.indexers.manifest import Manifest, facts_of


def create_corpus(folder: Path, embedders: Embedders, ragkit_version: str) -> None:
    """Make an empty corpus; the folder must be new, empty, or hold one that was never finished.

    Raises:
        CorpusError: the folder holds other files.
    """
    if folder.exists() and (not folder.is_dir() or any(_is_foreign(path.name) for path in folder.iterdir())):
        raise CorpusError(f"{folder} holds other files; a corpus needs a folder of its own")
    facts = [facts_of(each) for each in (embedders.texts, embedders.pictures, embedders.tokens)]
    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder):
        if (folder / manifest.FILE_NAME).exists():
            return  # Another process made it since we looked.
        Catalogue.create(folder).close()
        created = datetime.now(UTC).isoformat(timespec="seconds")
        made = Manifest(manifest.FORMAT_VERSION, ragkit_version, created, *facts)
        # The manifest comes last: a folder without one is no corpus yet, and can be begun again.
        manifest.write_manifest(folder, made)


def _is_foreign(name: str) -> bool:
    """Whether a file is none that a creation killed midway may have left behind."""
    ours = (catalogue.FILE_NAME, lock.FILE_NAME, f".{manifest.FILE_NAME}.")
    return not name.startswith(ours)
