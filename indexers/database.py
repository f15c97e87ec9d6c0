"""SQLite for several threads: connections are lent, and errors say what to do."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.errors import CorpusDamagedError, CorpusError
from ragkit.records import KeyArray

_BUSY_MS, _CHECKPOINT_MS = 30_000, 500


class Database:
    """A database of a corpus. Threads may share it: each piece of work borrows a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._idle: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Close all connections that are not at work."""
        while self._idle:
            self._idle.pop().close()

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
                raise unreadable(self._path, error) from error

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
            raise unreadable(path, error) from error
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
        raise unreadable(path, error) from error
    return connection


def unreadable(path: Path, error: Exception) -> CorpusDamagedError:
    """What to raise where what stands in a database cannot be."""
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
