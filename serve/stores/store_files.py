"""The files of vector stores: attached, changed, taken out, alone and in batches."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence

from ragkit.serve.stores.document_names import marked_name
from ragkit.serve.stores.ids import BATCH
from ragkit.serve.stores.paging import PageAsk, Paged, paged
from ragkit.serve.stores.rows import ApiAttributes, BatchRow, FileCounts, FileRow, StoreFileRow
from ragkit.serve.stores.rules import AttachFile
from ragkit.serve.stores.state import STORE_FILE_COLUMNS, ServerState, batch_row, store_file_row

# How long a cursor leads on that names a file which was taken out.
_GONE_S = 86_400
_OF_BATCH = "file IN (SELECT file FROM batch_files WHERE batch = ?)"


class StoreFiles:
    """Files by store; every change of a corpus that follows from it becomes a job."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def attach(
        self, store: str, files: Sequence[tuple[FileRow, AttachFile]], batch: bool = False
    ) -> tuple[list[StoreFileRow], BatchRow | None]:
        """Put files into a store. One that is there gets its new attributes, and another attempt if it failed.

        Raises:
            KeyError: the store, or a file, is gone.
        """
        now = int(time.time())
        made = BatchRow(self._state.ids.make(BATCH), store, now, False) if batch else None
        with self._state.change() as connection:
            change = "UPDATE stores SET last_active_at = ? WHERE id = ? AND dropped = 0"
            if connection.execute(change, [now, store]).rowcount == 0:
                raise KeyError(store)
            if made is not None:
                connection.execute("INSERT INTO batches VALUES (?, ?, ?, 0)", [made.id, store, now])
            rows = []
            for file, body in files:
                rows.append(_attach(connection, store, file, body, now))
                if made is not None:
                    connection.execute("INSERT OR IGNORE INTO batch_files VALUES (?, ?)", [made.id, file.id])
        return rows, made

    def get(self, store: str, file: str) -> StoreFileRow:
        """Raises KeyError where the store holds no such file."""
        query = f"SELECT {STORE_FILE_COLUMNS} FROM store_files WHERE store = ? AND file = ?"
        rows = self._state.rows(query, [store, file])
        if not rows:
            raise KeyError(file)
        return store_file_row(rows[0])

    def page(
        self, store: str, ask: PageAsk, status: str | None = None, batch: str | None = None
    ) -> Paged[StoreFileRow]:
        """In the order of attaching. Raises KeyError, with the id, where a cursor names no file of the store."""
        cursors = [None if id_ is None else self._place(store, id_) for id_ in (ask.after, ask.before)]
        where, values = ask.condition("seq", *cursors)
        tests, given = ["store = ?"], [store]
        if status is not None:
            tests.append("status = ?")
            given.append(status)
        if batch is not None:
            tests.append(_OF_BATCH)
            given.append(batch)
        query = f"SELECT {STORE_FILE_COLUMNS} FROM store_files WHERE {' AND '.join(tests)} AND {where}"
        return paged([store_file_row(row) for row in self._state.rows(query, [*given, *values])], ask)

    def set_attributes(self, store: str, file: str, attributes: ApiAttributes) -> StoreFileRow:
        """Replace a file's attributes. Raises KeyError where the store holds no such file."""
        with self._state.change() as connection:
            change = "UPDATE store_files SET attributes = ? WHERE store = ? AND file = ?"
            if connection.execute(change, [json.dumps(dict(attributes)), store, file]).rowcount == 0:
                raise KeyError(file)
            _add_job(connection, store, "attributes", file)
        return self.get(store, file)

    def detach(self, store: str, file: str) -> None:
        """Take a file out of a store. Raises KeyError where it is not there."""
        with self._state.change() as connection:
            _detach(connection, store, file)

    def detach_everywhere(self, file: str) -> list[str]:
        """Take a file out of all stores, for good: none can take it in again. Returns their ids."""
        with self._state.change() as connection:
            query = "SELECT store FROM store_files WHERE file = ?"
            stores = [store for (store,) in connection.execute(query, [file]).fetchall()]
            for store in stores:
                _detach(connection, store, file)
            connection.execute("DELETE FROM files WHERE id = ?", [file])
        return stores

    def batch(self, store: str, batch: str) -> tuple[BatchRow, FileCounts]:
        """A batch and its files by status. Raises KeyError where the store has no such batch."""
        rows = self._state.rows("SELECT * FROM batches WHERE id = ? AND store = ?", [batch, store])
        if not rows:
            raise KeyError(batch)
        query = f"SELECT status, count(*) FROM store_files WHERE store = ? AND {_OF_BATCH} GROUP BY status"
        return batch_row(rows[0]), FileCounts(**dict(self._state.rows(query, [store, batch])))

    def cancel(self, store: str, batch: str) -> None:
        """End a batch before its next file; one whose indexing has begun is let be.

        Raises:
            KeyError: the store has no such batch.
        """
        with self._state.change() as connection:
            change = "UPDATE batches SET cancelled = 1 WHERE id = ? AND store = ?"
            if connection.execute(change, [batch, store]).rowcount == 0:
                raise KeyError(batch)
            waiting = f"store = ? AND {_OF_BATCH} AND attempts = 0 AND status = 'in_progress'"
            values = [store, batch]
            files = connection.execute(f"SELECT file FROM store_files WHERE {waiting}", values).fetchall()
            connection.execute(f"UPDATE store_files SET status = 'cancelled' WHERE {waiting}", values)
            for (file,) in files:
                connection.execute("DELETE FROM jobs WHERE store = ? AND file = ? AND kind = 'add'", [store, file])

    def forget_gone(self) -> None:
        """Drop what cursors of yesterday would need."""
        with self._state.change() as connection:
            connection.execute("DELETE FROM gone WHERE gone_at < ?", [int(time.time()) - _GONE_S])

    def _place(self, store: str, file: str) -> int:
        for table in ("store_files", "gone"):
            rows = self._state.rows(f"SELECT seq FROM {table} WHERE store = ? AND file = ?", [store, file])
            if rows:
                return int(rows[0][0])
        raise KeyError(file)


def _attach(connection: sqlite3.Connection, store: str, file: FileRow, body: AttachFile, now: int) -> StoreFileRow:
    if not connection.execute("SELECT 1 FROM files WHERE id = ?", [file.id]).fetchone():
        raise KeyError(file.id)
    place = [store, file.id]
    select = f"SELECT {STORE_FILE_COLUMNS} FROM store_files WHERE store = ? AND file = ?"
    there = connection.execute(select, place).fetchone()
    if there is None:
        columns = "store, file, document, created_at, attributes, status"
        values = [*place, _free_name(connection, store, file), now, json.dumps(body.attributes or {})]
        connection.execute(f"INSERT INTO store_files ({columns}) VALUES (?, ?, ?, ?, ?, 'in_progress')", values)
        _add_job(connection, store, "add", file.id)
    else:
        _attach_again(connection, store_file_row(there), body)
    return store_file_row(connection.execute(select, place).fetchone())


def _attach_again(connection: sqlite3.Connection, row: StoreFileRow, body: AttachFile) -> None:
    place = [row.store, row.file]
    if body.attributes is not None and body.attributes != row.attributes:
        change = "UPDATE store_files SET attributes = ? WHERE store = ? AND file = ?"
        connection.execute(change, [json.dumps(body.attributes), *place])
        _add_job(connection, row.store, "attributes", row.file)
    if row.status in ("failed", "cancelled"):
        connection.execute(
            "UPDATE store_files SET status = 'in_progress', error_code = NULL, error_message = '', attempts = 0 "
            "WHERE store = ? AND file = ?",
            place,
        )
        _add_job(connection, row.store, "add", row.file)


def _free_name(connection: sqlite3.Connection, store: str, file: FileRow) -> str:
    query = "SELECT 1 FROM store_files WHERE store = ? AND document = ?"
    name, number = file.filename, 0
    while connection.execute(query, [store, name]).fetchone():
        number += 1
        name = marked_name(file.filename, file.id, number)
    return name


def _add_job(connection: sqlite3.Connection, store: str, kind: str, file: str) -> None:
    connection.execute(
        "INSERT INTO jobs (store, kind, file, document) "
        "SELECT store, ?, file, document FROM store_files WHERE store = ? AND file = ?",
        [kind, store, file],
    )


def _detach(connection: sqlite3.Connection, store: str, file: str) -> None:
    """What waits for the file is dropped; its document is removed whether it is there yet or not."""
    place = [store, file]
    connection.execute("DELETE FROM jobs WHERE store = ? AND file = ? AND kind != 'remove'", place)
    _add_job(connection, store, "remove", file)
    connection.execute(
        "INSERT OR REPLACE INTO gone SELECT store, file, seq, ? FROM store_files WHERE store = ? AND file = ?",
        [int(time.time()), *place],
    )
    if connection.execute("DELETE FROM store_files WHERE store = ? AND file = ?", place).rowcount == 0:
        raise KeyError(file)
