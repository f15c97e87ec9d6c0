"""Many clients put in, take out, change, search and ask at once: nothing fails, and in the end all agrees."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import openai
import pytest

from ragkit.corpus import Corpus
from tests.pdf_maker import make_pdf
from tests.serve.stores.store_house import StoreServer, store_server

# What may be gone, or may not be asked of it, when another client was faster.
_EXPECTED = (404, 400)


class Client:
    """Does things by chance. files, stores: ids that all clients share."""

    def __init__(self, server: StoreServer, seed: int, files: list[str], stores: list[str], pdf: bytes) -> None:
        self.chance = random.Random(seed)
        self.client = server.client.with_options(max_retries=0)
        self.files, self.stores, self.pdf = files, stores, pdf
        self.errors: list[str] = []

    def run(self, end: float) -> None:
        steps = (self.upload, self.upload, self.attach, self.attach, self.cancel, self.search, self.ask, self.list)
        steps = (*steps, self.change, self.detach, self.delete_file, self.replace_store)
        while time.monotonic() < end:
            step = self.chance.choice(steps)
            try:
                step()
            except openai.APIStatusError as error:
                if error.status_code not in _EXPECTED:
                    self.errors.append(f"{step.__name__}: {error}")
            except openai.APIError as error:
                self.errors.append(f"{step.__name__}: {error!r}")

    @property
    def store(self) -> str:
        return self.chance.choice(self.stores)

    @property
    def some(self) -> list[str]:
        return self.chance.choices(self.files, k=6)

    def upload(self) -> None:
        name = self.chance.choice(["a.txt", "b.pdf", "ü.md"])
        content = self.chance.choice([self.pdf, f"Otter number {self.chance.randrange(99)}.".encode()])
        self.files.append(self.client.files.create(file=(name, content), purpose="assistants").id)

    def attach(self) -> None:
        self.client.vector_stores.files.create(
            self.store, file_id=self.some[0], attributes={"n": self.chance.randrange(3)}
        )

    def cancel(self) -> None:
        store = self.store
        batch = self.client.vector_stores.file_batches.create(store, file_ids=self.some)
        if self.chance.random() < 0.5:
            self.client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store)

    def search(self) -> None:
        self.client.vector_stores.search(self.store, query="otter")

    def ask(self) -> None:
        self.client.chat.completions.create(model=self.store, messages=[{"role": "user", "content": "Otter?"}])

    def list(self) -> None:
        for file in self.client.vector_stores.files.list(self.store, limit=3):
            assert file.status in ("in_progress", "completed", "cancelled", "failed")

    def change(self) -> None:
        self.client.vector_stores.files.update(self.some[0], vector_store_id=self.store, attributes={"n": 5})

    def detach(self) -> None:
        self.client.vector_stores.files.delete(self.some[0], vector_store_id=self.store)

    def delete_file(self) -> None:
        self.client.files.delete(self.some[0])

    def replace_store(self) -> None:
        if self.chance.random() < 0.2:
            self.stores.append(self.client.vector_stores.create().id)
            self.client.vector_stores.delete(self.stores.pop(0))


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_many_clients_at_once(tmp_path: Path, seconds: float) -> None:
    pdf = make_pdf(tmp_path / "x.pdf", ["A page about otters.", "Another."] * 4).read_bytes()
    with store_server(tmp_path / "store") as server:
        files = [server.upload("first.txt", "The first otter.")]
        stores = [server.client.vector_stores.create().id for _ in range(3)]
        clients = [Client(server, seed, files, stores, pdf) for seed in range(6)]
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=client.run, args=(end,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [error for client in clients for error in client.errors] == []
        server.wait(lambda: server.stores.state.rows("SELECT count(*) FROM jobs") == [(0,)])
        for store in stores:
            check(server, store)
        folder = server.folder / "corpora"
        server.wait(lambda: {path.name for path in folder.iterdir()} <= set(stores), 20)


def check(server: StoreServer, store: str) -> None:
    """The corpus holds what the server says, and is sound."""
    listed = list(server.client.vector_stores.files.list(store, limit=100))
    assert {file.status for file in listed} <= {"completed", "cancelled", "failed"}
    said = {}
    for file in listed:
        assert file.model_extra is not None
        if file.status == "completed":
            said[file.model_extra["ragkit"]["document"]] = dict(file.attributes or {})
    corpora = server.folder / "corpora"
    server.texts(store, "otter")
    with Corpus.open(corpora / store, create=False) as corpus:
        assert {document.id: dict(document.attributes) for document in corpus.documents()} == said
        assert corpus.verify() == []
