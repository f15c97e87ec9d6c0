"""What is known of documents that are not finished: pages read and embedded before a run was interrupted.

A database beside the catalogue, and no part of the corpus's state: it may be lost at any time, and the work
in it is done again. It is deleted when nothing is left unfinished.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragkit.indexers.catalogue import Picture, page_columns, read_page
from ragkit.records import FloatArray, Page

FILE_NAME = "unfinished.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
    document TEXT, number INTEGER, text TEXT, words BLOB, width_pt REAL, height_pt REAL, text_source TEXT,
    PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (
    document TEXT, number INTEGER, name TEXT, width INTEGER, height INTEGER, vector BLOB, tokens BLOB,
    PRIMARY KEY (document, number));
"""


class UnfinishedPages:
    """Pages and pictures by document; a document is named by a digest of its content and all settings.

    Only the corpus's writer, under its lock, has one open.
    """

    def __init__(self, corpus: Path) -> None:
        self._path = corpus / FILE_NAME
        try:
            self._connection = _connect(self._path)
        except sqlite3.DatabaseError:
            # A machine that lost power may leave it damaged; what it held is done again.
            self._delete()
            self._connection = _connect(self._path)

    def pages(self, document: str) -> dict[int, Page]:
        """Pages read so far, by number."""
        rows = self._connection.execute(
            "SELECT number, text, words, width_pt, height_pt, text_source FROM pages WHERE document = ?",
            (document,),
        )
        return {row[0]: read_page(row) for row in rows}

    def add_page(self, document: str, page: Page) -> None:
        """Remember a page that was costly to read."""
        with self._connection:
            row = (document, *page_columns(page))
            self._connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def pictures(self, document: str) -> dict[int, Picture]:
        """Pictures embedded so far, by page number."""
        rows = self._connection.execute(
            "SELECT number, name, width, height, vector, tokens FROM pictures WHERE document = ?", (document,)
        )
        return {row[0]: _read_picture(row) for row in rows}

    def add_pictures(self, pictures: Sequence[tuple[str, Picture]]) -> None:
        """Remember embedded pictures, each with its document, in one commit."""
        with self._connection:
            rows = [(document, *_picture_columns(picture)) for document, picture in pictures]
            self._connection.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def picture_names(self) -> set[str]:
        """Names of the kept files of all remembered pictures."""
        return {name for (name,) in self._connection.execute("SELECT name FROM pictures")}

    def forget(self, documents: Sequence[str]) -> None:
        """Drop what is known of documents that are committed."""
        rows = [(document,) for document in documents]
        with self._connection:
            self._connection.executemany("DELETE FROM pages WHERE document = ?", rows)
            self._connection.executemany("DELETE FROM pictures WHERE document = ?", rows)

    def close(self, finished: bool) -> None:
        """Close it; where the run was finished, nothing in it is wanted any more and it is deleted."""
        self._connection.close()
        if finished:
            self._delete()

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(f"{FILE_NAME}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # Losing the last commits in a power cut costs time, not truth.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        connection.execute("SELECT count(*) FROM pages").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _picture_columns(picture: Picture) -> tuple[object, ...]:
    tokens = None if picture.tokens is None else _packed(picture.tokens)
    return (picture.page, picture.name, picture.width, picture.height, _packed(picture.vector), tokens)


def _read_picture(row: tuple[int, str, int, int, bytes, bytes | None]) -> Picture:
    number, name, width, height, vector, tokens = row
    return Picture(number, name, width, height, _unpacked(vector), None if tokens is None else _unpacked(tokens))


def _packed(array: FloatArray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, np.float32), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(content: bytes) -> FloatArray:
    array: FloatArray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array
