"""The server's own database: one connection, used in turns by the threads of one process."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ragkit.errors import ConfigError, CorpusDamagedError
from ragkit.serve.stores.ids import BATCH, FILE, STORE, IdMaker
from ragkit.serve.stores.rows import BatchRow, FileRow, Job, StoreFileRow, StoreRow

T = TypeVar("T")
FILE_NAME = "server.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE files (id TEXT PRIMARY KEY, filename TEXT NOT NULL, bytes INTEGER NOT NULL, purpose TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;
CREATE TABLE stores (id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,
    created_at INTEGER NOT NULL, last_active_at INTEGER NOT NULL, metadata TEXT NOT NULL, expires_days INTEGER,
    max_tokens INTEGER, overlap_tokens INTEGER, dropped INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE store_files (seq INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, file TEXT NOT NULL,
    document TEXT NOT NULL, created_at INTEGER NOT NULL, attributes TEXT NOT NULL, status TEXT NOT NULL,
    error_code TEXT, error_message TEXT NOT NULL DEFAULT '', usage_bytes INTEGER NOT NULL DEFAULT 0,
    pages INTEGER NOT NULL DEFAULT 0, warnings TEXT NOT NULL DEFAULT '[]', attempts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (store, file), UNIQUE (store, document));
CREATE INDEX store_files_by_status ON store_files (store, status, usage_bytes);
CREATE INDEX store_files_by_file ON store_files (file);
CREATE TABLE batches (id TEXT PRIMARY KEY, store TEXT NOT NULL, created_at INTEGER NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX batches_by_store ON batches (store);
CREATE TABLE batch_files (batch TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (batch, file)) WITHOUT ROWID;
CREATE TABLE jobs (seq INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, kind TEXT NOT NULL,
    file TEXT NOT NULL, document TEXT NOT NULL);
CREATE INDEX jobs_by_store ON jobs (store, kind, seq);
-- Where files stood that were taken out of a store: cursors that name them still lead on.
CREATE TABLE gone (store TEXT NOT NULL, file TEXT NOT NULL, seq INTEGER NOT NULL, gone_at INTEGER NOT NULL,
    PRIMARY KEY (store, file)) WITHOUT ROWID;
"""


class ServerState:
    """Opens the database of a folder, making it where there is none. Threads may share it.

    Raises:
        ConfigError: another server uses the folder, or it cannot be written to.
        CorpusDamagedError: the database cannot be read, or is of a newer ragkit.
    """

    def __init__(self, folder: Path) -> None:
        make_store_folder(folder)
        self.folder = folder
        self._lock = threading.RLock()
        try:
            self._own = (folder / "server.lock").open("w")
        except OSError as error:
            raise _unusable(folder, error) from error
        try:
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._own.close()
            raise ConfigError(f"{folder} is in use by another server; end it, or name another --store") from error
        try:
            self._connection = _connect(folder / FILE_NAME)
        except BaseException:
            self._own.close()
            raise
        self.ids = IdMaker(self._newest_id())

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: what is written inside is committed durably, or not at all."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk is met while it commits; after some errors SQLite has rolled back itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Give the folder back."""
        with self._lock:
            self._connection.close()
            self._own.close()

    def _newest_id(self) -> str:
        found = [
            str(id_).removeprefix(prefix)
            for table, prefix in (("files", FILE), ("stores", STORE), ("batches", BATCH))
            for (id_,) in self.rows(f"SELECT max(id) FROM {table}")
            if id_
        ]
        return max(found, default="")


def make_store_folder(folder: Path) -> None:
    """Where there is none. Raises ConfigError where none can be, such as in the place of a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"--store {folder} cannot be used as a folder for uploads: {error.strerror}; name a folder that this user "
        "may write to"
    )


FILE_COLUMNS = "id, filename, bytes, purpose, created_at, expires_at"
STORE_COLUMNS = (
    "id, name, description, created_at, last_active_at, metadata, expires_days, max_tokens, "
    "overlap_tokens, dropped"
)
STORE_FILE_COLUMNS = (
    "seq, store, file, document, created_at, attributes, status, error_code, error_message, usage_bytes, pages, "
    "warnings, attempts"
)
JOB_COLUMNS = "seq, store, kind, file, document"


def file_row(row: tuple[Any, ...]) -> FileRow:
    """From `FILE_COLUMNS`."""
    return FileRow(*row)


def store_row(row: tuple[Any, ...]) -> StoreRow:
    """From `STORE_COLUMNS`."""
    values = list(row)
    values[5], values[9] = json.loads(row[5]), bool(row[9])
    return StoreRow(*values)


def store_file_row(row: tuple[Any, ...]) -> StoreFileRow:
    """From `STORE_FILE_COLUMNS`."""
    values = list(row)
    values[5], values[11] = json.loads(row[5]), tuple(json.loads(row[11]))
    return StoreFileRow(*values)


def batch_row(row: tuple[Any, ...]) -> BatchRow:
    """From all columns of `batches`."""
    values = [*row[:3], bool(row[3])]
    return BatchRow(*values)


def job_row(row: tuple[Any, ...]) -> Job:
    """From `JOB_COLUMNS`."""
    return Job(*row)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be opened: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # What a client was told is on the disk.
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise CorpusDamagedError(
                f"{path} has format {version}, and this ragkit reads {_VERSION}; use the ragkit that made it"
            )
    except sqlite3.Error as error:
        connection.close()
        raise CorpusDamagedError(f"{path} cannot be read: {error}; restore it from a backup") from error
    except BaseException:
        connection.close()
        raise
    return connection
