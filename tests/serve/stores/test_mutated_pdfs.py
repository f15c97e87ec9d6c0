"""Damaged PDFs are uploaded in batches: each is reported, and the server answers in between."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.serve.stores.mutated_pdfs import mutated_pdfs
from tests.serve.stores.store_house import StoreServer, store_server

SEED = 5
BATCH = 50


def index_all(server: StoreServer, files: list[tuple[str, bytes]]) -> dict[str, int]:
    """How many files ended in each status; while they are worked on, searches are answered."""
    store = server.store_of({"sound.txt": "The otter sleeps by day."})
    for start in range(0, len(files), BATCH):
        ids = [server.upload(name, content) for name, content in files[start : start + BATCH]]
        batch = server.client.vector_stores.file_batches.create(store, file_ids=ids).id
        while True:
            began = time.monotonic()
            assert "The otter sleeps by day." in server.texts(store, "otter")
            assert time.monotonic() - began < 10
            counts = server.client.vector_stores.file_batches.retrieve(batch, vector_store_id=store).file_counts
            if counts.in_progress == 0:
                break
            time.sleep(0.2)
    ended = {"completed": 0, "failed": 0}
    for file in server.client.vector_stores.files.list(store, limit=100):
        ended[file.status] += 1
        if file.status == "failed":
            assert file.last_error is not None
            assert file.last_error.message
            assert str(server.folder) not in file.last_error.message
    server.attach(store, [server.upload("after.txt", "The heron nests.")])
    assert "The heron nests." in server.texts(store, "heron")
    return ended


def test_a_few_damaged_pdfs(tmp_path: Path) -> None:
    with store_server(tmp_path / "store", index_timeout_s=60) as server:
        ended = index_all(server, list(mutated_pdfs(tmp_path, 16, SEED)))
    assert sum(ended.values()) == 17
    assert min(ended.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_hundred_damaged_pdfs(tmp_path: Path) -> None:
    with store_server(tmp_path / "store", ocr="auto", index_timeout_s=60) as server:
        ended = index_all(server, list(mutated_pdfs(tmp_path, 500, SEED)))
    assert sum(ended.values()) == 501
    assert min(ended.values()) > 20
