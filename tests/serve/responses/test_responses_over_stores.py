"""Responses over vector stores of uploaded files, as the server holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response

from ragkit.corpus import Corpus
from tests.serve.api.openai_shapes import check_shape
from tests.serve.stores.store_house import StoreServer, store_server

LAKE = "Lake Ohm lies in the north. It is 41 metres deep."
BRIDGE = "The Stone Bridge was opened in 1874. It has five arches."
QUESTION = "How deep is Lake Ohm?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "heron.txt").write_text("The grey heron nests at the weir.")
    with Corpus.open(folder / "animals", config={"embedder": {"name": "none"}}) as animals:
        animals.add(folder / "heron.txt")
        with store_server(folder / "store", [animals]) as running:
            yield running


def new_store(server: StoreServer, **files: str) -> str:
    store = server.client.vector_stores.create(name="places").id
    for name, text in files.items():
        id_ = server.upload(f"{name} ü.txt", text)
        server.client.vector_stores.files.create(store, file_id=id_, attributes={"kind": name})
    server.wait(lambda: server.client.vector_stores.retrieve(store).file_counts.completed == len(files))
    return store


def ask(client: openai.OpenAI, question: str, *stores: str, **tool: Any) -> Response:
    search: Any = {"type": "file_search", "vector_store_ids": list(stores), **tool}
    response = client.responses.create(
        model="any", input=question, tools=[search], include=["file_search_call.results"]
    )
    check_shape(Response, json.loads(response.to_json()))
    return response


def test_files_are_named_as_they_were_uploaded(server: StoreServer) -> None:
    client = server.client
    store = new_store(server, lake=LAKE, bridge=BRIDGE)
    response = ask(client, QUESTION, store)
    listed = [file.id for file in client.vector_stores.files.list(store)]
    names = {id_: client.files.retrieve(id_).filename for id_ in listed}
    results = response.output[0].results or []  # type: ignore[union-attr]
    assert results[0].attributes == {"kind": "lake"}
    assert names[results[0].file_id or ""] == results[0].filename == "lake ü.txt"
    cited, linked, *_ = response.output[1].content[0].annotations  # type: ignore[union-attr]
    assert (cited.filename, names[cited.file_id]) == ("lake ü.txt", "lake ü.txt")
    assert linked.title == "lake ü.txt, page 1"
    assert httpx.get(linked.url, headers={"accept": "application/json"}).json()["text"] == LAKE


def test_stores_and_corpora_are_searched_together(server: StoreServer) -> None:
    one, other = new_store(server, lake=LAKE), new_store(server, lake="Lake Ohm froze in 1929.", bridge=BRIDGE)
    response = ask(server.client, "Lake Ohm heron", one, "animals", other)
    results = response.output[0].results or []  # type: ignore[union-attr]
    assert [result.filename for result in results] == ["lake ü.txt", "heron.txt", "lake ü.txt"]
    assert len({result.file_id for result in results}) == 3
    condition = {"type": "eq", "key": "kind", "value": "lake"}
    filtered = ask(server.client, "Lake Ohm heron", one, "animals", other, filters=condition)
    assert [r.filename for r in filtered.output[0].results or []] == ["lake ü.txt"] * 2  # type: ignore[union-attr]
    found = ask(server.client, "When did Lake Ohm freeze in 1929?", one, other)
    cited, linked, *_ = found.output[1].content[0].annotations  # type: ignore[union-attr]
    assert f"/pages/{other}/1" in linked.url
    assert (
        httpx.get(linked.url, headers={"accept": "application/json"}).json()["text"].startswith("Lake Ohm froze")
    )
    assert cited.file_id in [file.id for file in server.client.vector_stores.files.list(other)]


def test_an_empty_store_holds_no_answer_and_a_deleted_one_is_404(server: StoreServer) -> None:
    client = server.client
    store = new_store(server)
    for stores in ((store,), (store, "animals")):
        response = ask(client, "Zzz?", *stores)
        assert response.output_text == "Not found in these documents."
        assert response.output[0].results == []  # type: ignore[union-attr]
    client.vector_stores.delete(store)
    with pytest.raises(openai.NotFoundError, match="there is no vector store"):
        ask(client, QUESTION, store)


def test_a_filter_finds_nothing_in_an_empty_store_by_every_way(server: StoreServer) -> None:
    client, store = server.client, new_store(server)
    condition: Any = {"type": "eq", "key": "kind", "value": "lake"}
    assert client.vector_stores.search(store, query=QUESTION, filters=condition).data == []
    assert ask(client, QUESTION, store, filters=condition).output_text == "Not found in these documents."
    for fields in ({"filters": condition}, {"ragkit": {"filters": "kind = lake"}}):
        asked: Any = {"model": store, "messages": [{"role": "user", "content": QUESTION}], "extra_body": fields}
        reply = client.chat.completions.create(**asked)
        assert reply.choices[0].message.content == "Not found in these documents."


def test_a_file_that_was_taken_out_is_not_cited(server: StoreServer) -> None:
    store = new_store(server, lake=LAKE, bridge=BRIDGE)
    for file in server.client.vector_stores.files.list(store):
        if server.client.files.retrieve(file.id).filename.startswith("lake"):
            server.client.vector_stores.files.delete(file.id, vector_store_id=store)
    response = ask(server.client, QUESTION, store)
    assert "lake ü.txt" not in [r.filename for r in response.output[0].results or []]  # type: ignore[union-attr]
    assert not [
        note
        for note in response.output[1].content[0].annotations
        if note.type == "file_citation"  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize("name", ["reports/2024", "..", "a?b#c%2F", "die Jahre 😀"])
def test_links_of_a_store_asked_by_its_name_open_and_outlive_the_name(server: StoreServer, name: str) -> None:
    client, store = server.client, new_store(server, lake=LAKE)
    client.vector_stores.update(store, name=name)
    asked: Any = {"model": name, "messages": [{"role": "user", "content": QUESTION}]}
    whole = client.chat.completions.create(**asked)
    (*_, last) = client.chat.completions.create(**asked, stream=True)
    assert (whole.model, last.model) == (name, name)
    streamed = json.loads(last.to_json())["choices"][0]["delta"]["annotations"]
    links = {note["url_citation"]["url"] for note in streamed}
    assert links == {note.url_citation.url for note in whole.choices[0].message.annotations or []} != set()
    client.vector_stores.update(store, name="other")
    pages = [httpx.get(link, headers={"accept": "application/json"}).json() for link in links]
    marked = {page["text"][slice(*span)] for page in pages for span in page["spans"]}
    assert "It is 41 metres deep." in marked
    client.vector_stores.delete(store)


def test_a_store_that_holds_nothing_is_noted(server: StoreServer) -> None:
    full, empty = new_store(server, lake=LAKE), new_store(server)
    for stores in ([full, empty], [empty], [full]):
        record = json.loads(ask(server.client, QUESTION, *stores).to_json())["ragkit"]
        noted = [note for note in record["notes"] if "holds no documents" in note]
        assert len(noted) == (empty in stores)
        assert all(empty in note for note in noted) or stores == [empty]
