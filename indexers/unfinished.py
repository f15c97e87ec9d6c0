"""What is known of documents that are not finished: pages read and embedded before a run was interrupted.

A database beside the catalogue, and no part of the corpus's state: it may be lost at any time, and the work
in it is done again. It is deleted when nothing is left unfinished; after a month what is left is dropped.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.indexers.new_document import Picture
from ragkit.indexers.page_rows import page_columns, read_page
from ragkit.records import Page

FILE_NAME = "unfinished.sqlite"
_MOST_DAYS = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
    document TEXT, number INTEGER, text TEXT, words BLOB, width_pt REAL, height_pt REAL, text_source TEXT,
    day INTEGER DEFAULT (CAST(julianday('now') AS INTEGER)), PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (
    document TEXT, number INTEGER, name TEXT, width INTEGER, height INTEGER, vector BLOB, tokens BLOB,
    day INTEGER DEFAULT (CAST(julianday('now') AS INTEGER)), PRIMARY KEY (document, number));
"""


class UnfinishedPages:
    """Pages and pictures by document; a document is named by a digest of its content and all settings.

    Only the corpus's writer, under its lock, has one open.
    """

    def __init__(self, corpus: Path) -> None:
        self._path = corpus / FILE_NAME
        try:
            self._connection = _connect(self._path)
        except sqlite3.OperationalError:
            raise  # The disk, not the file: what it holds is still wanted.
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
            self._connection.execute(
                "INSERT OR REPLACE INTO pages (document, number, text, words, width_pt, height_pt, text_source)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

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
            self._connection.executemany(
                "INSERT OR REPLACE INTO pictures (document, number, name, width, height, vector, tokens)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def picture_names(self) -> set[str]:
        """Names of the kept files of all remembered pictures."""
        return {name for (name,) in self._connection.execute("SELECT name FROM pictures")}

    def forget(self, documents: Sequence[str]) -> None:
        """Drop what is known of documents that are committed."""
        rows = [(document,) for document in documents]
        with self._connection:
            self._connection.executemany("DELETE FROM pages WHERE document = ?", rows)
            self._connection.executemany("DELETE FROM pictures WHERE document = ?", rows)

    def of(self, document: str) -> RememberedPages:
        """The pages of one document."""
        return RememberedPages(self, document)

    def close(self) -> None:
        """Close it, and delete it where nothing is left in it."""
        tables = "SELECT (SELECT count(*) FROM pages) + (SELECT count(*) FROM pictures)"
        is_empty = self._connection.execute(tables).fetchone() == (0,)
        self._connection.close()
        if is_empty:
            self._delete()

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(f"{FILE_NAME}{suffix}").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RememberedPages:
    """What is remembered of one document's pages."""

    unfinished: UnfinishedPages
    document: str

    def pages(self) -> dict[int, Page]:
        """By number."""
        return self.unfinished.pages(self.document)

    def add(self, page: Page) -> None:
        """Remember one more."""
        self.unfinished.add_page(self.document, page)


def unfinished_picture_names(corpus: Path) -> set[str]:
    """Names of the kept files that an unfinished run, which may be none, has remembered."""
    if not (corpus / FILE_NAME).exists():
        return set()
    unfinished = UnfinishedPages(corpus)
    try:
        return unfinished.picture_names()
    finally:
        unfinished.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # Losing the last commits in a power cut costs time, not truth.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        for table in ("pages", "pictures"):
            connection.execute(f"DELETE FROM {table} WHERE day < julianday('now') - ?", (_MOST_DAYS,))
        connection.commit()
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


def _packed(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(content: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array
