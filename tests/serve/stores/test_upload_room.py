"""How much may be uploaded together, however uploads overlap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkit.serve.stores.file_shelf import FileShelf
from ragkit.serve.stores.state import ServerState
from ragkit.serve.stores.upload import UploadError
from ragkit.serve.stores.upload_room import OneUpload, UploadRoom
from ragkit.serve_config import ServeConfig


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[FileShelf]:
    state = ServerState(tmp_path)
    yield FileShelf(state)
    state.close()


def store(shelf: FileShelf, upload: OneUpload, num_bytes: int) -> str:
    upload.take(num_bytes)
    path = shelf.uploads / "one"
    path.write_bytes(b"x" * num_bytes)
    file = shelf.add(path, "a.txt", "assistants", None).id
    upload.is_stored = True
    return file


def test_a_slow_upload_counts_those_that_were_stored_meanwhile(shelf: FileShelf) -> None:
    room = UploadRoom(shelf, ServeConfig(store_max_mb=0.001))
    with room.open() as slow:
        slow.take(100)
        with room.open() as quick:
            store(shelf, quick, 600)
        with pytest.raises(UploadError, match=r"more than 0\.001 MB together"):
            slow.take(301)
        slow.take(300)


def test_what_was_given_up_or_deleted_makes_room(shelf: FileShelf) -> None:
    room = UploadRoom(shelf, ServeConfig(store_max_mb=0.001))
    with room.open() as given_up:
        given_up.take(900)
    with room.open() as upload:
        file = store(shelf, upload, 1000)
    with room.open() as upload, pytest.raises(UploadError):
        upload.take(1)
    with shelf._state.change() as connection:
        connection.execute("DELETE FROM files WHERE id = ?", [file])
    with room.open() as upload:
        store(shelf, upload, 1000)
