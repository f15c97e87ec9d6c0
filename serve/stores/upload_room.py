"""How much may still be uploaded: by one client in one file, and by all together."""

from __future__ import annotations

import threading

from ragkit.serve.stores.file_shelf import FileShelf
from ragkit.serve.stores.upload import UploadError
from ragkit.serve_config import ServeConfig

_MEGABYTE = 1_000_000


class UploadRoom:
    """Counts what is stored and what is on its way. A limit of 0 for everything means none."""

    def __init__(self, shelf: FileShelf, settings: ServeConfig) -> None:
        self._shelf = shelf
        self._most = int(settings.max_upload_mb * _MEGABYTE)
        self._most_together = int(settings.store_max_mb * _MEGABYTE)
        self._lock = threading.Lock()
        self._coming = 0
        # What was stored since the server began; what was deleted is not taken off.
        self._landed = 0

    def check_declared(self, num_bytes: int | None) -> None:
        """Refuse a body whose length tells that it is too large; forms have a little around the file."""
        if num_bytes is not None and num_bytes > self._most + 100_000:
            raise self._too_large()

    def open(self) -> OneUpload:
        """For one more upload."""
        landed = self._landed
        stored = self._shelf.num_bytes() if self._most_together else 0
        return OneUpload(self, stored - landed)

    def take(self, upload: OneUpload, num_bytes: int) -> None:
        """Raises UploadError where that is more than one file, or all together, may have."""
        if upload.num_bytes + num_bytes > self._most:
            raise self._too_large()
        with self._lock:
            together = upload.others + self._landed + self._coming + num_bytes
            if self._most_together and together > self._most_together:
                raise UploadError(
                    413,
                    f"the server's files would have more than {self._most_together / _MEGABYTE:g} MB together "
                    "([serve] store_max_mb); delete some first",
                    "file",
                )
            self._coming += num_bytes
        upload.num_bytes += num_bytes

    def give_back(self, num_bytes: int, *, is_stored: bool) -> None:
        """An upload has ended."""
        with self._lock:
            self._coming -= num_bytes
            self._landed += num_bytes if is_stored else 0

    def _too_large(self) -> UploadError:
        limit = f"{self._most / _MEGABYTE:g}"
        return UploadError(413, f"the file has more than {limit} MB ([serve] max_upload_mb)", "file")


class OneUpload:
    """What one upload has taken so far; a context manager.

    others: bytes that were stored when it began, less what the room had seen landing. is_stored: set once it is.
    """

    def __init__(self, room: UploadRoom, others: int) -> None:
        self._room = room
        self.others = others
        self.num_bytes = 0
        self.is_stored = False

    def take(self, num_bytes: int) -> None:
        """As `UploadRoom.take`."""
        self._room.take(self, num_bytes)

    def __enter__(self) -> OneUpload:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.give_back(self.num_bytes, is_stored=self.is_stored)
