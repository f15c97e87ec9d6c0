"""The SQLite catalogue: documents, pages, passages, and which data files belong to the current state.

A commit of the catalogue is the only switch from one state of a corpus to the next. Data files are
written before it and never changed after it; files that no row names are left-overs of a killed
writer and are swept by the next one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.attributes import dump_attributes, load_attributes
from ragkit.indexers.catalogue_schema import ATTRIBUTE_VALUES, SCHEMA, SINCE_3
from ragkit.indexers.database import Database, unreadable
from ragkit.indexers.document_digests import digests
from ragkit.indexers.new_document import Attributes, NewDocument
from ragkit.indexers.page_rows import page_columns
from ragkit.records import KeyArray

FILE_NAME = "catalogue.sqlite"

_LISTED = "(SELECT value FROM json_each(?))"
_DOCUMENTS_AT_ONCE = 500


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


class Catalogue(Database):
    """One corpus's catalogue."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE_NAME)
        self._dead: tuple[int, KeyArray] = (-1, np.zeros(0, np.int64))

    @classmethod
    def create(cls, folder: Path) -> Catalogue:
        """Lay out an empty catalogue; harmless where there is one already."""
        connection = sqlite3.connect(folder / FILE_NAME)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {SINCE_3} COMMIT;")
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

    def add_tables(self) -> None:
        """Make the tables that an earlier format version lacks."""
        with self._borrowed() as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {SINCE_3} {ATTRIBUTE_VALUES}; COMMIT;")
        with self.transaction():
            for first, last in self._document_ranges():
                self._seal(first, last)

    @property
    def generation(self) -> int:
        """Number of the current state; grows by one with every commit."""
        return int(self._fact("generation"))

    @property
    def settings(self) -> dict[str, object]:
        """The indexing settings of the last run, as tables of the configuration."""
        try:
            settings: dict[str, object] = json.loads(self._fact("settings"))
        except ValueError as error:
            raise unreadable(self._path, error) from error
        return settings

    @property
    def manifest(self) -> str:
        """The corpus's manifest.json as it was written; "" where no writer has remembered it yet."""
        return self.remembered("manifest")

    def remembered(self, name: str) -> str:
        """A fact that not every corpus has; "" where it has none."""
        rows = self.rows("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def remember(self, name: str, value: str) -> None:
        """Inside a transaction: such a fact."""
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

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

    def content_digest(self) -> str:
        """Hex SHA-256 of all documents: their ids, what they were made of, and how they were read.

        Corpora that were built apart from the same documents have the same, and compacting changes nothing of it.
        """
        sql = "SELECT id, content_hash, settings_hash, num_pages FROM documents ORDER BY id"
        digest = hashlib.sha256()
        for row in self.rows(sql):
            digest.update(f"{json.dumps(row)}\n".encode())
        return digest.hexdigest()

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

    def copies_of(self, id_: str) -> list[str]:
        """Ids of the other documents that were made of the same bytes, ascending."""
        sql = (
            "SELECT other.id FROM documents JOIN documents AS other ON other.content_hash = documents.content_hash"
            " WHERE documents.id = ? AND other.id != documents.id ORDER BY other.id"
        )
        return [other for (other,) in self.rows(sql, (id_,))]

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
            self._write(f"{ATTRIBUTE_VALUES} WHERE documents.key = ?", (key,))
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
        assert key is not None, "an inserted row has a key"
        self._seal(key, key)
        return keys

    def _seal(self, first: int, last: int) -> None:
        """Inside a transaction: note what documents with these keys say now."""
        rows = list(digests(self.rows, first, last).items())
        self._write("INSERT OR REPLACE INTO document_digests VALUES (?, ?)", *rows)

    def unsealed(self) -> list[str]:
        """Ids of documents that do not say what was stored, as after a flipped byte."""
        sql = "SELECT document, sha256 FROM document_digests WHERE document BETWEEN ? AND ?"
        altered: list[int] = []
        for first, last in self._document_ranges():
            noted = dict(self.rows(sql, (first, last)))
            found = digests(self.rows, first, last)
            altered += sorted(key for key in found.keys() | noted.keys() if found.get(key) != noted.get(key))
        names = dict(self.rows("SELECT key, id FROM documents")) if altered else {}
        return [str(names.get(key, f"number {key}")) for key in altered]

    def _document_ranges(self) -> Iterator[tuple[int, int]]:
        """First and last keys of documents, so that some hundreds are read at once."""
        ((last,),) = self.rows("SELECT coalesce(max(key), 0) FROM documents")
        for first in range(0, last + 1, _DOCUMENTS_AT_ONCE):
            yield first, first + _DOCUMENTS_AT_ONCE - 1

    def set_attributes(self, documents: Mapping[str, Attributes], said: Mapping[str, Attributes]) -> None:
        """Replace documents' attributes, by id, and what sidecars give of them; inside a transaction."""
        rows = [(dump_attributes(attributes), id_) for id_, attributes in documents.items()]
        self._write("UPDATE documents SET attributes = ? WHERE id = ?", *rows)
        ids = [(id_,) for id_ in documents]
        self._write("DELETE FROM attribute_values WHERE document = (SELECT key FROM documents WHERE id = ?)", *ids)
        self._write(f"{ATTRIBUTE_VALUES} WHERE documents.id = ?", *ids)
        for (key,) in self.rows(
            f"SELECT key FROM documents WHERE id IN {_LISTED}", (json.dumps(list(documents)),)
        ):
            self._seal(key, key)
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
        generation, held = self.generation, self._dead
        if held[0] != generation:
            held = self._dead = (generation, self.integers("SELECT key FROM dead_passages ORDER BY key"))
        return held[1]

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

    def swap_kinds(self, pairs: Mapping[str, str]) -> None:
        """Inside a transaction: the files of two kinds change places, for each pair of kinds."""
        changes = json.dumps({**pairs, **{second: first for first, second in pairs.items()}})
        self._write(
            "UPDATE files SET kind = (SELECT value FROM json_each(?1) WHERE key = files.kind)"
            " WHERE kind IN (SELECT key FROM json_each(?1))",
            (changes,),
        )

    def drop_files(self, files: Sequence[StoredFile]) -> None:
        """Inside a transaction; the files themselves are swept later."""
        self._write("DELETE FROM files WHERE path = ?", *[(file.path,) for file in files])

    def _fact(self, name: str) -> str:
        return str(self.rows("SELECT value FROM facts WHERE name = ?", (name,))[0][0])

    def _set_fact(self, name: str, value: str) -> None:
        self._write("UPDATE facts SET value = ? WHERE name = ?", (value, name))
