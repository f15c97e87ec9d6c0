"""The SQLite catalogue: documents, pages, passages, and which data files belong to the current state.

A commit of the catalogue is the only switch from one state of a corpus to the next. Data files are
written before it and never changed after it; files that no row names are left-overs of a killed
writer and are swept by the next one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.attributes import dump_attributes, load_attributes
from ragkit.errors import CorpusDamagedError, CorpusError
from ragkit.records import AttributeValue, FloatArray, KeyArray, Page, WordBoxes

FILE_NAME = "catalogue.sqlite"

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, source TEXT NOT NULL,
    media_type TEXT NOT NULL, num_pages INTEGER NOT NULL, content_hash TEXT NOT NULL,
    settings_hash TEXT NOT NULL, attributes TEXT NOT NULL);
CREATE INDEX documents_by_source ON documents (source) WHERE source != '';
CREATE TABLE pages (
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, number INTEGER NOT NULL,
    text TEXT NOT NULL, words BLOB NOT NULL, width_pt REAL NOT NULL, height_pt REAL NOT NULL,
    text_source TEXT NOT NULL, image TEXT NOT NULL, image_width INTEGER NOT NULL, image_height INTEGER NOT NULL,
    PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE INDEX pages_by_image ON pages (image) WHERE image != '';
CREATE TABLE passages (
    key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    page INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE INDEX passages_by_document ON passages (document);
CREATE TABLE files (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, generation INTEGER NOT NULL, num_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('generation', '0'), ('next_passage_key', '0'), ('settings', '{}');
"""
# What format version 3 added. sidecars: what sidecar files said last, so that what they no longer say is
# taken away.
_SINCE_3 = """
CREATE TABLE IF NOT EXISTS sidecars (
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE, attributes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS file_facts (
    path TEXT PRIMARY KEY REFERENCES files ON DELETE CASCADE, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_passages (key INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS loose_pictures (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attribute_values (
    name TEXT NOT NULL, type TEXT NOT NULL, value NOT NULL,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    PRIMARY KEY (name, type, value, document)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attribute_values_by_document ON attribute_values (document);
"""
# The attributes of some documents as rows, which filters look up.
# A day in the form YYYY-MM-DD: date() makes March 1st of February 30th, but only where it has to reckon.
_VALUES = """
INSERT OR REPLACE INTO attribute_values
SELECT item.key, CASE item.type WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' WHEN 'text' THEN
    CASE WHEN item.value GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' AND item.value >= '0001'
        AND date(item.value, '+0 days') IS item.value THEN 'date' ELSE 'string' END
    ELSE 'number' END, item.value, documents.key
FROM documents, json_each(documents.attributes) AS item
"""
_LISTED = "(SELECT value FROM json_each(?))"
_DIGITS = 65535.0
_BUSY_MS, _CHECKPOINT_MS = 30_000, 500

Attributes = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Picture:
    """A page's picture as it is stored: file name below pages/ ("" where it is not kept), and size in pixels.

    vector: float32 (dim,). tokens: float16 (n, dim) for late interaction, or None.
    """

    page: int
    name: str
    width: int
    height: int
    vector: FloatArray
    tokens: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document ready to be stored.

    passages: (page number, start, end) of its pieces of text, in page order. pictures: the embedded ones
    of its pages, in page order; each becomes a passage too. said: those of its attributes that a sidecar gives.
    """

    id: str
    title: str
    source: str
    media_type: str
    content_hash: str
    settings_hash: str
    pages: Sequence[Page]
    passages: Sequence[tuple[int, int, int]]
    attributes: Attributes = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    said: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A data file of the current state. path: below the corpus folder. generation: of its commit."""

    path: str
    kind: str
    generation: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """What decides whether a document must be indexed again. said: those attributes that a sidecar gave last."""

    source: str
    content_hash: str
    settings_hash: str
    attributes: Attributes
    said: Attributes


class Catalogue:
    """One corpus's catalogue. Threads may share it: each piece of work borrows a connection of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._local = threading.local()
        self._idle: list[sqlite3.Connection] = []
        self._dead: tuple[int, KeyArray] = (-1, np.zeros(0, np.int64))

    @classmethod
    def create(cls, folder: Path) -> Catalogue:
        """Lay out an empty catalogue; harmless where there is one already."""
        connection = sqlite3.connect(folder / FILE_NAME)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {_SINCE_3} COMMIT;")
        except sqlite3.OperationalError as error:
            if "already exists" not in str(error):
                raise
        finally:
            connection.close()
        return cls(folder)

    @property
    def folder(self) -> Path:
        """The corpus that this is the catalogue of."""
        return self._path.parent

    def close(self) -> None:
        """Close all connections that are not at work."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """Reads inside the block see one committed state; gives its generation. May be nested."""
        with self._borrowed() as connection:
            if connection.in_transaction:
                yield self.generation
                return
            connection.execute("BEGIN")
            try:
                yield self.generation
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[int]:
        """Changes inside the block become visible together, durably, as the generation it gives."""
        with self._borrowed() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                generation = self.generation + 1
                yield generation
                self._set_fact("generation", str(generation))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """What a query gives, read whole.

        Raises:
            CorpusDamagedError: the file is missing or no database.
        """
        with self._borrowed() as connection:
            try:
                return connection.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                raise _unreadable(self._path, error) from error

    def integers(self, sql: str, parameters: Sequence[object] = ()) -> KeyArray:
        """The column `key` of a query, int64 (n,), read-only; several times as fast as `rows` for many."""
        (text,) = self.rows(f"SELECT group_concat(key) FROM ({sql})", parameters)[0]
        numbers = np.fromstring(text or "", np.int64, sep=",")
        numbers.flags.writeable = False
        return numbers

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """The connection this thread works with, else an idle one, else a new one."""
        held: sqlite3.Connection | None = getattr(self._local, "held", None)
        if held is not None:
            yield held
            return
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path)
        self._local.held = connection
        try:
            yield connection
        finally:
            self._local.held = None
            if connection.in_transaction:  # A disk that failed let nothing be rolled back.
                connection.close()
            else:
                self._idle.append(connection)

    def _write(self, sql: str, *rows: Sequence[object]) -> sqlite3.Cursor:
        """Run a statement for each row inside the transaction that this thread is in."""
        held: sqlite3.Connection | None = getattr(self._local, "held", None)
        assert held is not None, "a change outside of a transaction"
        assert held.in_transaction, "a change outside of a transaction"
        return held.execute(sql, rows[0]) if len(rows) == 1 else held.executemany(sql, rows)

    def add_tables(self) -> None:
        """Make the tables that an earlier format version lacks."""
        with self._borrowed() as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {_SINCE_3} {_VALUES}; COMMIT;")

    def shrink(self) -> None:
        """Give the space of deleted rows back to the disk."""
        with self._borrowed() as connection:
            connection.execute("VACUUM")
            # Waits for readers to be out of the log, and leaves it to a later commit where one stays in it.
            connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    @property
    def generation(self) -> int:
        """Number of the current state; grows by one with every commit."""
        return int(self._fact("generation"))

    @property
    def settings(self) -> dict[str, object]:
        """The indexing settings of the last run, as tables of the configuration."""
        settings: dict[str, object] = json.loads(self._fact("settings"))
        return settings

    @property
    def manifest(self) -> str:
        """The corpus's manifest.json as it was written; "" where no writer has remembered it yet."""
        rows = self.rows("SELECT value FROM facts WHERE name = 'manifest'")
        return str(rows[0][0]) if rows else ""

    def remember_manifest(self, content: str) -> None:
        """Inside a transaction."""
        self._write("INSERT OR REPLACE INTO facts VALUES ('manifest', ?)", (content,))

    def set_settings(self, settings: Mapping[str, object]) -> None:
        """Inside a transaction."""
        self._set_fact("settings", json.dumps(settings, sort_keys=True))

    def counts(self) -> tuple[int, int, int]:
        """Documents, pages, passages."""
        sql = (
            "SELECT (SELECT count(*) FROM documents), (SELECT coalesce(sum(num_pages), 0) FROM documents),"
            " (SELECT count(*) FROM passages)"
        )
        documents, pages, passages = self.rows(sql)[0]
        return documents, pages, passages

    def known_documents(self, ids: Iterable[str]) -> dict[str, KnownDocument]:
        """By id, those of the documents that there are."""
        sql = (
            "SELECT id, source, content_hash, settings_hash, documents.attributes, sidecars.attributes"
            " FROM documents LEFT JOIN sidecars ON sidecars.document = documents.key"
            f" WHERE id IN {_LISTED}"
        )
        return {
            id_: KnownDocument(
                source, content, settings, load_attributes(attributes), load_attributes(said or "{}")
            )
            for id_, source, content, settings, attributes, said in self.rows(sql, (json.dumps(list(ids)),))
        }

    def ids_by_source(self, sources: Iterable[str]) -> dict[str, str]:
        """Path of a file -> id of the document that was read from it."""
        sql = f"SELECT source, id FROM documents WHERE source != '' AND source IN {_LISTED}"
        return dict(self.rows(sql, (json.dumps(list(sources)),)))

    def sources_by_id(self) -> dict[str, str]:
        """Id -> path, of all documents that were read from files."""
        return dict(self.rows("SELECT id, source FROM documents WHERE source != ''"))

    def add_document(self, document: NewDocument) -> list[int]:
        """Store a document in place of any with its id; inside a transaction.

        Returns the keys of its pieces of text, then those of its pictures.
        """
        self.remove_document(document.id)
        row = (
            document.id,
            document.title,
            document.source,
            document.media_type,
            len(document.pages),
            document.content_hash,
            document.settings_hash,
            dump_attributes(document.attributes),
        )
        key = self._write(
            "INSERT INTO documents (id, title, source, media_type, num_pages, content_hash, settings_hash,"
            " attributes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        ).lastrowid
        if document.attributes:
            self._write(f"{_VALUES} WHERE documents.key = ?", (key,))
        if document.said:
            self._remember_said([(document.id, document.said)])
        images = {picture.page: (picture.name, picture.width, picture.height) for picture in document.pictures}
        pages = [(key, *page_columns(page), *images.get(page.number, ("", 0, 0))) for page in document.pages]
        self._write("INSERT INTO pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *pages)
        first = int(self._fact("next_passage_key"))
        pieces = [(*passage, "text") for passage in document.passages]
        pieces += [(picture.page, 0, 0, "image") for picture in document.pictures]
        keys = list(range(first, first + len(pieces)))
        passages = [(k, key, *piece) for k, piece in zip(keys, pieces, strict=True)]
        self._write("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?)", *passages)
        # Keys are never used again, so a vector that outlives its passage can not be taken for another's.
        self._set_fact("next_passage_key", str(first + len(keys)))
        return keys

    def set_attributes(self, documents: Mapping[str, Attributes], said: Mapping[str, Attributes]) -> None:
        """Replace documents' attributes, by id, and what sidecars give of them; inside a transaction."""
        rows = [(dump_attributes(attributes), id_) for id_, attributes in documents.items()]
        self._write("UPDATE documents SET attributes = ? WHERE id = ?", *rows)
        ids = [(id_,) for id_ in documents]
        self._write("DELETE FROM attribute_values WHERE document = (SELECT key FROM documents WHERE id = ?)", *ids)
        self._write(f"{_VALUES} WHERE documents.id = ?", *ids)
        if said:
            self._remember_said(list(said.items()))

    def _remember_said(self, said: Sequence[tuple[str, Attributes]]) -> None:
        self._write(
            "INSERT OR REPLACE INTO sidecars SELECT key, ? FROM documents WHERE id = ?",
            *[(dump_attributes(attributes), id_) for id_, attributes in said],
        )

    def set_sources(self, sources: Sequence[tuple[str, str]]) -> None:
        """Say where documents' files are now, as (id, path); inside a transaction."""
        self._write("UPDATE documents SET source = ? WHERE id = ?", *[(path, id_) for id_, path in sources])

    def remove_document(self, document_id: str) -> bool:
        """Inside a transaction. Returns whether there was one.

        Its passages' keys are remembered as dead for as long as any data file holds rows of them, and the
        names of its pages' pictures until they are swept.
        """
        found = self.rows("SELECT key FROM documents WHERE id = ?", (document_id,))
        for key in found:
            self._write("INSERT INTO dead_passages SELECT key FROM passages WHERE document = ?", key)
            self._write(
                "INSERT OR IGNORE INTO loose_pictures SELECT image FROM pages WHERE document = ? AND image != ''",
                key,
            )
            self._write("DELETE FROM documents WHERE key = ?", key)
        return bool(found)

    def dead_keys(self) -> KeyArray:
        """Ascending keys of passages that are gone, of which data files may still hold rows."""
        generation = self.generation
        if self._dead[0] != generation:
            self._dead = (generation, self.integers("SELECT key FROM dead_passages ORDER BY key"))
        return self._dead[1]

    def num_dead(self, first: int, last: int) -> int:
        """How many of the keys from `first` to `last` are dead."""
        sql = "SELECT count(*) FROM dead_passages WHERE key BETWEEN ? AND ?"
        return int(self.rows(sql, (first, last))[0][0])

    def set_dead(self, keys: KeyArray) -> None:
        """Inside a transaction: these keys are the dead ones, and no others."""
        self._write("DELETE FROM dead_passages", ())
        self._write("INSERT INTO dead_passages VALUES (?)", *[(key,) for key in keys.tolist()])

    def forget_dead(self, keys: KeyArray) -> None:
        """Inside a transaction: of these keys no data file holds rows any more."""
        self._write("DELETE FROM dead_passages WHERE key = ?", *[(key,) for key in keys.tolist()])

    def add_dead(self, keys: KeyArray) -> None:
        """Inside a transaction: data files hold rows of these keys, which no passage has."""
        self._write("INSERT OR IGNORE INTO dead_passages VALUES (?)", *[(key,) for key in keys.tolist()])

    def set_picture(self, old: str, new: str, size: tuple[int, int]) -> None:
        """Inside a transaction: say that the pages of one picture have another one now."""
        sql = "UPDATE pages SET image = ?, image_width = ?, image_height = ? WHERE image = ?"
        self._write(sql, (new, *size, old))

    def set_incomplete(self, ids: Iterable[str]) -> None:
        """Inside a transaction: these documents are indexed anew when their files are next looked at."""
        self._write("UPDATE documents SET settings_hash = 'incomplete' WHERE id = ?", *[(id_,) for id_ in ids])

    def take_loose_pictures(self) -> list[str]:
        """Inside a transaction: names of pictures that lost a page, of which no page is left."""
        names = self.rows(
            "SELECT name FROM loose_pictures"
            " WHERE NOT EXISTS (SELECT 1 FROM pages WHERE image = name AND image != '') ORDER BY name"
        )
        self._write("DELETE FROM loose_pictures", ())
        return [name for (name,) in names]

    def files(self, kind: str | None = None) -> list[StoredFile]:
        """Data files of the current state, oldest first."""
        rows = self.rows(
            "SELECT path, kind, generation, num_bytes, sha256 FROM files WHERE ?1 IS NULL OR kind = ?1"
            " ORDER BY generation, path",
            (kind,),
        )
        return [StoredFile(*row) for row in rows]

    def add_file(self, file: StoredFile, facts: Mapping[str, object] | None = None) -> None:
        """Inside a transaction. facts: what else should be known of it, as JSON."""
        row = (file.path, file.kind, file.generation, file.num_bytes, file.sha256)
        self._write("INSERT INTO files VALUES (?, ?, ?, ?, ?)", row)
        if facts is not None:
            self.set_file_facts(file.path, facts)

    def set_file_facts(self, path: str, facts: Mapping[str, object]) -> None:
        """Inside a transaction."""
        self._write("INSERT OR REPLACE INTO file_facts VALUES (?, ?)", (path, json.dumps(facts)))

    def file_facts(self) -> dict[str, dict[str, Any]]:
        """Path -> what is known of it, of those files that have facts."""
        return {path: json.loads(facts) for path, facts in self.rows("SELECT path, facts FROM file_facts")}

    def drop_files(self, files: Sequence[StoredFile]) -> None:
        """Inside a transaction; the files themselves are swept later."""
        self._write("DELETE FROM files WHERE path = ?", *[(file.path,) for file in files])

    def _fact(self, name: str) -> str:
        return str(self.rows("SELECT value FROM facts WHERE name = ?", (name,))[0][0])

    def _set_fact(self, name: str, value: str) -> None:
        self._write("UPDATE facts SET value = ? WHERE name = ?", (value, name))


def read_page(row: Sequence[object]) -> Page:
    """A page from its columns (number, text, words, width_pt, height_pt, text_source)."""
    number, text, words, width_pt, height_pt, text_source = row
    return Page(number, text, _unpack(words), width_pt, height_pt, text_source)  # type: ignore[arg-type]


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise CorpusDamagedError(
            f"{path} is missing, and nothing can be read without it; restore it from a backup, or index into a "
            "new corpus"
        )
    try:
        connection = _configured(f"{path.absolute().as_uri()}?mode=rw")
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise _unreadable(path, error) from error
        if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
            raise CorpusError(f"{path} cannot be opened: {error}. Nothing was changed; try again") from error
        # A read-only folder: SQLite can make no WAL beside the file. Without a writer the file alone is whole.
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise CorpusDamagedError(
                f"{log} holds commits that a read-only folder cannot show; open the corpus where it can be written"
            ) from None
        connection = _configured(f"{path.absolute().as_uri()}?mode=ro&immutable=1")
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error
    return connection


def _unreadable(path: Path, error: sqlite3.DatabaseError) -> CorpusDamagedError:
    return CorpusDamagedError(
        f"{path} is no readable catalogue ({error}); restore it from a backup, or index into a new corpus"
    )


def _configured(uri: str) -> sqlite3.Connection:
    seconds = _BUSY_MS / 1000
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=seconds)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT value FROM facts WHERE name = 'generation'").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def page_columns(page: Page) -> tuple[object, ...]:
    """A page as the columns that `read_page` reads."""
    return (page.number, page.text, _pack(page.words), page.width_pt, page.height_pt, page.text_source)


def _pack(words: WordBoxes) -> bytes:
    """Spans as int32 and boxes as 1/65535 of the page, compressed."""
    spans = np.ascontiguousarray(words.spans, np.int32)
    boxes = np.rint(np.clip(words.boxes, 0, 1) * _DIGITS).astype(np.uint16)
    return zlib.compress(spans.tobytes() + boxes.tobytes(), 1)


def _unpack(blob: object) -> WordBoxes:
    raw = zlib.decompress(blob)  # type: ignore[arg-type]
    count = len(raw) // 16
    spans = np.frombuffer(raw, np.int32, 2 * count).reshape(count, 2)
    boxes = np.frombuffer(raw, np.uint16, 4 * count, 8 * count).reshape(count, 4)
    return WordBoxes(spans, (boxes / np.float32(_DIGITS)).astype(np.float32))
