"""Vector stores: their rows, counts and times."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace

from ragkit.serve.stores.ids import STORE
from ragkit.serve.stores.rows import ApiAttributes, FileCounts, StoreRow
from ragkit.serve.stores.rules import ChunkSizes, CreateStore, UpdateStore
from ragkit.serve.stores.state import STORE_COLUMNS, ServerState, store_row

# How exact the time of last use is; expiry counts in days.
_TOUCH_S = 60


class SeveralStoresError(KeyError):
    """A name that several stores have names none of them. ids: of those."""

    def __init__(self, name: str, ids: Sequence[str]) -> None:
        super().__init__(name)
        self.ids = tuple(ids)


class StoreShelf:
    """Vector stores by id."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def create(self, body: CreateStore) -> StoreRow:
        """A new, empty one."""
        now = int(time.time())
        sizes = None if body.chunking_strategy is None else body.chunking_strategy.static
        row = StoreRow(
            self._state.ids.make(STORE),
            body.name or "",
            body.description or "",
            now,
            now,
            body.metadata or {},
            _days(body),
            None if sizes is None else sizes.max_chunk_size_tokens,
            None if sizes is None else sizes.chunk_overlap_tokens,
        )
        values = [row.id, row.name, row.description, now, now, json.dumps(row.metadata)]
        values += [row.expires_days, row.max_tokens, row.overlap_tokens, 0]
        with self._state.change() as connection:
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO stores ({STORE_COLUMNS}) VALUES ({marks})", values)
        return row

    def get(self, store: str) -> StoreRow:
        """Raises KeyError where there is none."""
        rows = self._state.rows(f"SELECT {STORE_COLUMNS} FROM stores WHERE id = ?", [store])
        if not rows:
            raise KeyError(store)
        return store_row(rows[0])

    def get_many(self, stores: Sequence[str]) -> dict[str, StoreRow]:
        """By id, those that are there."""
        marks = ", ".join("?" * len(stores))
        rows = self._state.rows(f"SELECT {STORE_COLUMNS} FROM stores WHERE id IN ({marks})", stores)
        return {row.id: row for row in map(store_row, rows)}

    def has(self, store: str) -> bool:
        """Whether there is a store of that id."""
        return bool(self._state.rows("SELECT 1 FROM stores WHERE id = ?", [store]))

    def ids(self) -> list[str]:
        """Of all stores that are not over, oldest first."""
        rows = map(store_row, self._state.rows(f"SELECT {STORE_COLUMNS} FROM stores ORDER BY id"))
        now = time.time()
        return [row.id for row in rows if not row.is_expired(now)]

    def all_ids(self) -> list[str]:
        """Of all stores, oldest first."""
        return [id_ for (id_,) in self._state.rows("SELECT id FROM stores ORDER BY id")]

    def names(self) -> dict[str, str]:
        """Of all stores by id; "" of one without a name."""
        return dict(self._state.rows("SELECT id, name FROM stores"))

    def name_of(self, store: str) -> str | None:
        """ "" for a store without a name, None where there is no store of that id."""
        rows = self._state.rows("SELECT name FROM stores WHERE id = ?", [store])
        return rows[0][0] if rows else None

    def find(self, name: str) -> StoreRow:
        """The store of that id, or the only one of that name that is not over.

        Raises:
            SeveralStoresError: several have the name.
            KeyError: none has it.
        """
        query = f"SELECT {STORE_COLUMNS} FROM stores WHERE id = ? OR (name = ? AND name != '')"
        now = time.time()
        rows = [row for row in map(store_row, self._state.rows(query, [name, name])) if not row.is_expired(now)]
        exact = [row for row in rows if row.id == name] or rows
        if not exact:
            raise KeyError(name)
        if len(exact) > 1:
            raise SeveralStoresError(name, sorted(row.id for row in exact))
        return exact[0]

    def counts(self, stores: Sequence[str]) -> dict[str, tuple[FileCounts, int]]:
        """Files by status, and bytes, of each store."""
        found: dict[str, dict[str, int]] = {store: {} for store in stores}
        num_bytes = dict.fromkeys(stores, 0)
        marks = ", ".join("?" * len(stores))
        query = (
            "SELECT store, status, count(*), sum(usage_bytes) FROM store_files "
            f"WHERE store IN ({marks}) GROUP BY store, status"
        )
        for store, status, count, size in self._state.rows(query, list(stores)):
            found[store][status] = count
            num_bytes[store] += size
        return {store: (FileCounts(**found[store]), num_bytes[store]) for store in stores}

    def changes_due(self, store: str) -> dict[str, ApiAttributes | None]:
        """By document what its corpus does not have yet: other attributes, or None where the document is to go."""
        query = (
            "SELECT jobs.document, jobs.kind, store_files.attributes FROM jobs LEFT JOIN store_files "
            "ON store_files.store = jobs.store AND store_files.file = jobs.file "
            "WHERE jobs.store = ? AND jobs.kind IN ('attributes', 'remove')"
        )
        due: dict[str, ApiAttributes | None] = {}
        for document, kind, attributes in self._state.rows(query, [store]):
            is_kept = kind == "attributes" and attributes and due.get(document, {}) is not None
            due[document] = json.loads(attributes) if is_kept else None
        return due

    def update(self, store: str, body: UpdateStore) -> StoreRow:
        """Change what the body says. Raises KeyError where there is no such store."""
        said, row = body.model_fields_set, self.get(store)
        if "name" in said:
            row = replace(row, name=body.name or "")
        if "metadata" in said:
            row = replace(row, metadata=body.metadata or {})
        if "expires_after" in said:
            row = replace(row, expires_days=_days(body))
        values = [row.name, json.dumps(row.metadata), row.expires_days, int(time.time()), store]
        with self._state.change() as connection:
            change = "UPDATE stores SET name = ?, metadata = ?, expires_days = ?, last_active_at = ? WHERE id = ?"
            if connection.execute(change, values).rowcount == 0:
                raise KeyError(store)
        return self.get(store)

    def decide_sizes(self, store: str, sizes: ChunkSizes) -> bool:
        """Give an empty store its sizes of passages; False where it has others, or files without any."""
        wanted = (sizes.max_chunk_size_tokens, sizes.chunk_overlap_tokens)
        with self._state.change() as connection:
            connection.execute(
                "UPDATE stores SET max_tokens = ?, overlap_tokens = ? WHERE id = ? AND max_tokens IS NULL "
                "AND NOT EXISTS (SELECT 1 FROM store_files WHERE store = stores.id)",
                [*wanted, store],
            )
            query = "SELECT max_tokens, overlap_tokens FROM stores WHERE id = ?"
            found = connection.execute(query, [store]).fetchone()
        return bool(found == wanted)

    def touch(self, store: str) -> None:
        """Note that a store is used."""
        now = int(time.time())
        if self._state.rows("SELECT 1 FROM stores WHERE id = ? AND last_active_at < ?", [store, now - _TOUCH_S]):
            with self._state.change() as connection:
                connection.execute("UPDATE stores SET last_active_at = ? WHERE id = ?", [now, store])

    def delete(self, store: str) -> None:
        """Forget a store and all that hangs on it, but for its corpus. Raises KeyError where there is none."""
        with self._state.change() as connection:
            if connection.execute("DELETE FROM stores WHERE id = ?", [store]).rowcount == 0:
                raise KeyError(store)
            batches = "SELECT id FROM batches WHERE store = ?"
            connection.execute(f"DELETE FROM batch_files WHERE batch IN ({batches})", [store])
            for table in ("store_files", "batches", "jobs", "gone"):
                connection.execute(f"DELETE FROM {table} WHERE store = ?", [store])

    def expire(self, now: float) -> list[str]:
        """Mark the stores that are over since the last look; their work ends. Returns their ids."""
        query = f"SELECT {STORE_COLUMNS} FROM stores WHERE expires_days IS NOT NULL AND dropped = 0"
        over = [row.id for row in map(store_row, self._state.rows(query)) if row.is_expired(now)]
        for store in over:
            with self._state.change() as connection:
                connection.execute("UPDATE stores SET dropped = 1 WHERE id = ?", [store])
                connection.execute("DELETE FROM jobs WHERE store = ?", [store])
                connection.execute(
                    "UPDATE store_files SET usage_bytes = 0, "
                    "status = CASE status WHEN 'in_progress' THEN 'cancelled' ELSE status END WHERE store = ?",
                    [store],
                )
        return over


def _days(body: CreateStore | UpdateStore) -> int | None:
    return None if body.expires_after is None else body.expires_after.days
