"""Files that are either wholly there or not there at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes ``path``'s place, durably, when the block ends without an error.

    The bytes go to a temporary neighbour, are forced to the disk, and are renamed; the folder is
    forced too, so the name survives a power cut. When the block raises, nothing is left behind.
    """
    made_folder = not path.parent.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    if made_folder:
        sync(path.parent.parent)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def num_bytes_below(folder: Path) -> int:
    """Bytes of all files in a folder and its folders."""
    total = 0
    for path in folder.rglob("*"):
        # A writer may sweep files away while we count.
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def cache_folder() -> Path:
    """Where ragkit keeps what can be made again: ``$RAGKIT_CACHE``, else ``~/.cache/ragkit``."""
    configured = os.environ.get("RAGKIT_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "ragkit"
