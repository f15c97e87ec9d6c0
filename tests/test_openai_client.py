"""A corpus is made, filled, searched, asked and deleted through the stock `openai` client on a real server."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Iterator

import openai
import pytest
from openai.types import CreateEmbeddingResponse, FileDeleted, FileObject, VectorStore, VectorStoreDeleted
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseFileSearchToolCall, ResponseOutputMessage
from openai.types.vector_stores import VectorStoreFile, VectorStoreFileBatch, VectorStoreFileDeleted

from tests.pdf_maker import make_pdf
from tests.warm_python import MODELS, SERVER, WarmPython

LAKE = "Lake Ohm lies in the north. It is 41 metres deep."
BRIDGE = "The Stone Bridge was opened in 1874. It has five arches."
TOWER = "The clock tower is closed on Mondays."


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython) -> Iterator[openai.OpenAI]:
    """Of a server with the packaged embedder and the engine that quotes."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "ragkit", "serve", "--store", str(folder / "store"), "--port", str(port)]
    with (
        (folder / "log").open("wb") as log,
        warm_python.start(command, folder, (*MODELS, *SERVER), log) as process,
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
    ):
        try:
            end = time.monotonic() + 120
            while not _answers(client):
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.1)
            yield client
        finally:
            process.terminate()


def _answers(client: openai.OpenAI) -> bool:
    with contextlib.suppress(openai.APIConnectionError):
        client.models.list()
        return True
    return False


@pytest.fixture(scope="module")
def uploaded(client: openai.OpenAI, tmp_path_factory: pytest.TempPathFactory) -> FileObject:
    """A PDF, given as an open file."""
    path = make_pdf(tmp_path_factory.mktemp("pdf") / "lake.pdf", ["The first page says little.", LAKE])
    with path.open("rb") as file:
        return client.files.create(file=file, purpose="assistants")


@pytest.fixture(scope="module")
def store(client: openai.OpenAI, uploaded: FileObject) -> VectorStore:
    """Three files: one uploaded before, two in a batch."""
    made = client.vector_stores.create(name="town", metadata={"kind": "test"})
    assert isinstance(made, VectorStore)
    attached = client.vector_stores.files.create(
        made.id, file_id=uploaded.id, attributes={"year": 2020, "wet": True, "seen": "2021-03-04"}
    )
    assert isinstance(attached, VectorStoreFile)
    assert attached.status in ("in_progress", "completed")
    done = client.vector_stores.files.poll(uploaded.id, vector_store_id=made.id)
    assert (done.status, done.usage_bytes) == ("completed", uploaded.bytes)
    batch = client.vector_stores.file_batches.upload_and_poll(
        made.id, files=[("bridge.md", BRIDGE.encode()), ("tower.txt", TOWER.encode())]
    )
    assert isinstance(batch, VectorStoreFileBatch)
    assert (batch.status, batch.file_counts.completed) == ("completed", 2)
    return client.vector_stores.retrieve(made.id)


def test_the_store_holds_what_was_put_into_it(client: openai.OpenAI, store: VectorStore) -> None:
    assert (store.name, store.status, store.file_counts.completed) == ("town", "completed", 3)
    assert store.id in [model.id for model in client.models.list()]
    names = [
        client.files.retrieve(file.id).filename for file in client.vector_stores.files.list(store.id, order="asc")
    ]
    assert names[0] == "lake.pdf"
    assert sorted(names[1:]) == ["bridge.md", "tower.txt"]


def test_search_with_filters(client: openai.OpenAI, store: VectorStore, uploaded: FileObject) -> None:
    best = client.vector_stores.search(store.id, query="How many arches has the bridge?", max_num_results=1).data[
        0
    ]
    assert (best.filename, best.content[0].text) == ("bridge.md", BRIDGE)
    assert 0 <= best.score <= 1
    for filters in (
        {"type": "gte", "key": "year", "value": 2019},
        {"type": "lt", "key": "seen", "value": "2021-12-31"},
        {"type": "eq", "key": "wet", "value": True},
    ):
        found = client.vector_stores.search(store.id, query="bridge", filters=filters).data  # type: ignore[arg-type]
        assert {hit.file_id for hit in found} == {uploaded.id}
        assert found[0].attributes == {"year": 2020, "wet": True, "seen": "2021-03-04"}


def test_attributes_are_changed(client: openai.OpenAI, store: VectorStore) -> None:
    (tower,) = [
        hit for hit in client.vector_stores.search(store.id, query="clock tower") if hit.filename == "tower.txt"
    ]
    changed = client.vector_stores.files.update(
        tower.file_id, vector_store_id=store.id, attributes={"closed": "monday"}
    )
    assert changed.attributes == {"closed": "monday"}
    end = time.monotonic() + 30
    while True:
        with contextlib.suppress(openai.BadRequestError):
            found = client.vector_stores.search(
                store.id, query="bridge", filters={"type": "eq", "key": "closed", "value": "monday"}
            )
            assert [hit.file_id for hit in found] == [tower.file_id]
            return
        assert time.monotonic() < end, "the change did not reach the corpus"
        time.sleep(0.05)


def test_chat_plain_and_streamed(client: openai.OpenAI, store: VectorStore) -> None:
    question = "How deep is Lake Ohm?"
    whole = client.chat.completions.create(model=store.id, messages=[{"role": "user", "content": question}])
    assert isinstance(whole, ChatCompletion)
    message = whole.choices[0].message
    assert message.content is not None
    assert "41 metres" in message.content
    assert message.annotations
    citation = message.annotations[0].url_citation
    assert citation.title == "lake.pdf, page 2"
    assert "41 metres" in message.content[citation.start_index : citation.end_index]
    chunks = list(
        client.chat.completions.create(
            model="town",
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "41 metres" in text
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_responses_with_file_search(client: openai.OpenAI, store: VectorStore, uploaded: FileObject) -> None:
    reply = client.responses.create(
        model="town",
        input="How deep is Lake Ohm?",
        tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
        include=["file_search_call.results"],
    )
    assert isinstance(reply, Response)
    assert "41 metres" in reply.output_text
    (call,) = (item for item in reply.output if isinstance(item, ResponseFileSearchToolCall))
    assert call.status == "completed"
    assert call.results
    assert uploaded.id in [result.file_id for result in call.results]
    (message,) = (item for item in reply.output if isinstance(item, ResponseOutputMessage))
    part = message.content[0]
    assert part.type == "output_text"
    cited = [note for note in part.annotations if note.type == "file_citation"]
    assert [(note.file_id, note.filename) for note in cited][:1] == [(uploaded.id, "lake.pdf")]


def test_embeddings(client: openai.OpenAI, store: VectorStore) -> None:
    plain = client.embeddings.create(model=store.id, input=["lake", "bridge"], encoding_format="float")
    assert isinstance(plain, CreateEmbeddingResponse)
    assert len(plain.data) == 2
    length = sum(value * value for value in plain.data[0].embedding)
    assert length == pytest.approx(1, abs=1e-3)
    raw = client.embeddings.with_raw_response.create(model=store.id, input="lake", encoding_format="base64")
    packed = raw.http_response.json()["data"][0]["embedding"]
    assert len(base64.b64decode(packed)) == 4 * len(plain.data[0].embedding)


def test_at_last_all_is_deleted(client: openai.OpenAI, store: VectorStore, uploaded: FileObject) -> None:
    detached = client.vector_stores.files.delete(uploaded.id, vector_store_id=store.id)
    assert isinstance(detached, VectorStoreFileDeleted)
    assert detached.deleted
    found = client.vector_stores.search(store.id, query="How deep is Lake Ohm?")
    assert uploaded.id not in [hit.file_id for hit in found]
    gone = client.vector_stores.delete(store.id)
    assert isinstance(gone, VectorStoreDeleted)
    assert gone.deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(store.id)
    for file in client.files.list(limit=2):
        deleted = client.files.delete(file.id)
        assert isinstance(deleted, FileDeleted)
        assert deleted.deleted
    assert client.files.list().data == []
