"""Uploaded files: their rows, and their bytes on the disk."""

from __future__ import annotations

import time
from pathlib import Path

from ragkit.files import sync
from ragkit.serve.stores.ids import FILE, is_id
from ragkit.serve.stores.paging import PageAsk, Paged, paged
from ragkit.serve.stores.rows import FileRow
from ragkit.serve.stores.state import FILE_COLUMNS, ServerState, file_row

FOLDER = "files"
UPLOADS = "uploads"


class FileShelf:
    """Files by id. Their bytes lie under the id alone: no name that a client gives becomes a path."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._folder = state.folder / FOLDER
        self.uploads = state.folder / UPLOADS
        for folder in (self._folder, self.uploads):
            folder.mkdir(exist_ok=True)
        self._sweep()

    def path(self, file: str) -> Path:
        """Where a file's bytes lie. Raises KeyError where this is no file's id."""
        if not is_id(file, FILE):
            raise KeyError(file)
        return self._folder / file

    def add(self, uploaded: Path, name: str, purpose: str, expires_after_s: int | None) -> FileRow:
        """Take over a file that lies complete, and forced to the disk, in `uploads`."""
        now = int(time.time())
        expires = None if expires_after_s is None else now + expires_after_s
        row = FileRow(self._state.ids.make(FILE), name, uploaded.stat().st_size, purpose, now, expires)
        uploaded.rename(self.path(row.id))
        values = (row.id, row.filename, row.bytes, row.purpose, row.created_at, row.expires_at)
        try:
            sync(self._folder)
            with self._state.change() as connection:
                connection.execute(f"INSERT INTO files ({FILE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values)
        except BaseException:
            # On a full disk above all its bytes must not stay.
            self.path(row.id).unlink(missing_ok=True)
            raise
        return row

    def get(self, file: str) -> FileRow:
        """Raises KeyError where there is none, or it has expired."""
        return self.get_many([file])[file]

    def get_many(self, files: list[str]) -> dict[str, FileRow]:
        """By id. Raises KeyError, with the id, where one is not there."""
        found: dict[str, FileRow] = {}
        for start in range(0, len(files), 500):
            part = files[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows = self._state.rows(f"SELECT {FILE_COLUMNS} FROM files WHERE id IN ({marks})", part)
            found.update((row[0], file_row(row)) for row in rows)
        for file in files:
            expires = found[file].expires_at
            if expires is not None and expires <= time.time():
                raise KeyError(file)
        return found

    def names(self, files: list[str]) -> dict[str, str]:
        """Id -> name of those files that are there."""
        marks = ", ".join("?" * len(files))
        return dict(self._state.rows(f"SELECT id, filename FROM files WHERE id IN ({marks})", files))

    def page(self, ask: PageAsk, purpose: str | None) -> Paged[FileRow]:
        """By time of upload, which is the order of ids."""
        where, values = ask.condition("id", ask.after, ask.before)
        fits = "(expires_at IS NULL OR expires_at > ?)"
        query = f"SELECT {FILE_COLUMNS} FROM files WHERE {fits} AND (? IS NULL OR purpose = ?) AND {where}"
        rows = self._state.rows(query, [int(time.time()), purpose, purpose, *values])
        return paged([file_row(row) for row in rows], ask)

    def num_bytes(self) -> int:
        """Of all files together."""
        return int(self._state.rows("SELECT coalesce(sum(bytes), 0) FROM files")[0][0])

    def expired(self, now: float) -> list[str]:
        """Ids of files that are over."""
        return [id_ for (id_,) in self._state.rows("SELECT id FROM files WHERE expires_at <= ?", [int(now)])]

    def forget(self, file: str) -> None:
        """Delete the bytes of a file whose row is gone."""
        self.path(file).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """What a server that was killed left behind: halves of uploads, and bytes without a row."""
        for path in self.uploads.iterdir():
            path.unlink()
        known = {id_ for (id_,) in self._state.rows("SELECT id FROM files")}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink()
