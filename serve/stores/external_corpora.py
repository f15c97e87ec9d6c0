"""Corpora that the server was started with, seen as vector stores that can be read and searched."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from ragkit.attributes import dump_attributes
from ragkit.protocols import CorpusLibrary
from ragkit.records import Document
from ragkit.serve.stores.file_ids import external_file_id
from ragkit.serve.stores.paging import PageAsk, Paged
from ragkit.serve.stores.rows import FileCounts, FileRow, StoreFileRow, StoreRow

# Others write to these corpora; listing a large one takes a while.
_FRESH_S = 5.0
_PURPOSE = "user_data"


class ExternalCorpora:
    """Rows made of a corpus's documents. Methods take the names of corpora that are there.

    created: when the server started, which stands for all times that are not known.
    """

    def __init__(self, library: CorpusLibrary, created: int) -> None:
        self._library = library
        self._created = created
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[float, dict[str, Document]]] = {}

    def store(self, name: str) -> StoreRow:
        """The corpus as a store."""
        return StoreRow(name, name, "", self._created, self._created, {})

    def counts(self, name: str) -> tuple[FileCounts, int]:
        """Its documents, and the bytes of their files, where those are still there."""
        documents = self._documents(name)
        return FileCounts(completed=len(documents)), sum(map(_num_bytes, documents.values()))

    def page(self, name: str, ask: PageAsk, status: str | None) -> Paged[StoreFileRow]:
        """Its documents as files, by name. Raises KeyError where a cursor names none."""
        ids = list(self._documents(name)) if status in (None, "completed") else []
        if ask.order == "desc":
            ids.reverse()
        first = 0 if ask.after is None else self._place(ids, ask.after) + 1
        last = len(ids) if ask.before is None else self._place(ids, ask.before)
        if ask.backwards:
            first = max(first, last - ask.limit)
            return Paged([self.file(name, id_) for id_ in ids[first:last]], first > 0)
        chosen = ids[first:last][: ask.limit]
        return Paged([self.file(name, id_) for id_ in chosen], first + len(chosen) < last)

    def file(self, name: str, file: str) -> StoreFileRow:
        """A document as a file. Raises KeyError where there is no document of that id of a file."""
        documents = self._documents(name)
        document = documents[file]
        return StoreFileRow(
            seq=0,
            store=name,
            file=file,
            document=document.id,
            created_at=self._created,
            attributes=_plain(document),
            status="completed",
            usage_bytes=_num_bytes(document),
            pages=document.num_pages,
        )

    def file_object(self, name: str, file: str) -> FileRow:
        """The same as an uploaded file."""
        row = self.file(name, file)
        return FileRow(file, row.document, row.usage_bytes, _PURPOSE, self._created)

    def _place(self, ids: list[str], file: str) -> int:
        try:
            return ids.index(file)
        except ValueError as error:
            raise KeyError(file) from error

    def _documents(self, name: str) -> dict[str, Document]:
        """Id of file -> document, in the order of the documents' ids."""
        with self._lock:
            read_at, documents = self._listed.get(name, (-_FRESH_S, {}))
            if time.monotonic() - read_at > _FRESH_S:
                found = self._library.corpus(name).store.documents()
                documents = {external_file_id(name, document.id): document for document in found}
                self._listed[name] = (time.monotonic(), documents)
            return documents


def _plain(document: Document) -> dict[str, str | int | float | bool]:
    """Attributes as JSON has them: dates as text."""
    import json

    values: dict[str, str | int | float | bool] = json.loads(dump_attributes(document.attributes))
    return values


def _num_bytes(document: Document) -> int:
    with suppress(OSError, ValueError):
        return os.stat(document.source).st_size if document.source else 0
    return 0
