"""/v1/vector_stores by the stock client: stores, files, batches, attributes, search."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ragkit.corpus import Corpus
from ragkit.serve.stores.file_ids import external_file_id, file_id_of
from tests.pdf_maker import make_pdf
from tests.serve.stores.store_house import StoreServer, store_server

LAKE = "Lake Ohm lies in the north. It is 41 metres deep."
QUESTION: Any = [{"role": "user", "content": "How deep?"}]
_JSON = {"content-type": "application/json"}
BRIDGE = "The Stone Bridge was opened in 1874. It has five arches."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "documents").mkdir()
    (folder / "documents" / "heron.txt").write_text("The grey heron nests at the weir.")
    make_pdf(folder / "documents" / "otter.pdf", ["The otter sleeps by day."])
    rows = [{"file": "heron.txt", "attributes": {"day": "2020-05-01", "legs": 2}}]
    (folder / "documents" / "attributes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with Corpus.open(folder / "animals", config={"embedder": {"name": "none"}}) as animals:
        animals.add(folder / "documents")
        with store_server(folder / "store", [animals]) as running:
            yield running


@pytest.fixture(scope="module")
def store(server: StoreServer) -> str:
    """Two files with attributes."""
    client = server.client
    made = client.vector_stores.create(name="places", metadata={"for": "tests"}).id
    for name, text, attributes in (
        ("lake.md", LAKE, {"year": 2020, "wet": True, "day": "2020-02-29", "dept": "süd"}),
        ("bridge.txt", BRIDGE, {"year": 1874.5, "wet": False, "day": "not a day", "dept": "nord"}),
    ):
        file = client.vector_stores.files.upload_and_poll(
            vector_store_id=made, file=(name, text.encode()), attributes=attributes
        )
        assert file.status == "completed"
    return made


def test_a_new_store_is_empty_and_complete(server: StoreServer) -> None:
    made = server.client.vector_stores.create()
    assert (made.name, made.status, made.usage_bytes, made.metadata) == ("", "completed", 0, {})
    assert made.file_counts.model_dump() == dict.fromkeys(
        ("in_progress", "completed", "failed", "cancelled", "total"), 0
    )
    assert made.expires_at is None
    assert server.texts(made.id, "anything") == []
    assert server.texts(made.id, "anything", filters={"type": "eq", "key": "year", "value": 1}) == []
    chat = server.client.chat.completions.create(model=made.id, messages=[{"role": "user", "content": "What?"}])
    assert chat.choices[0].message.annotations == []


def test_counts_bytes_and_texts_of_a_store(server: StoreServer, store: str) -> None:
    found = server.client.vector_stores.retrieve(store)
    assert (found.file_counts.completed, found.file_counts.total) == (2, 2)
    assert found.usage_bytes == len(LAKE) + len(BRIDGE)
    files = {file.id: file for file in server.client.vector_stores.files.list(store)}
    assert len(files) == 2
    for id_, file in files.items():
        text = {"lake.md": LAKE, "bridge.txt": BRIDGE}[server.client.files.retrieve(id_).filename]
        assert file.usage_bytes == len(text)
        assert file.last_error is None
        parts = server.client.vector_stores.files.content(id_, vector_store_id=store)
        assert [part.text for part in parts] == [text]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (None, ["bridge.txt", "lake.md"]),
        ({"type": "gte", "key": "year", "value": 1900}, ["lake.md"]),
        ({"type": "eq", "key": "wet", "value": False}, ["bridge.txt"]),
        ({"type": "lt", "key": "day", "value": "2020-03-01"}, ["lake.md"]),
        ({"type": "in", "key": "dept", "value": ["süd", "west"]}, ["lake.md"]),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "ne", "key": "wet", "value": True},
                    {"type": "gt", "key": "year", "value": 1874},
                ],
            },
            ["bridge.txt"],
        ),
        ("year < 1900 or dept = west", ["bridge.txt"]),
    ],
)
def test_filters(server: StoreServer, store: str, filters: Any, names: list[str]) -> None:
    found = server.client.vector_stores.search(
        store, query="It is the bridge of the lake", filters=filters or openai.omit
    )
    assert sorted(hit.filename for hit in found) == names


def test_what_a_hit_says(server: StoreServer, store: str) -> None:
    (hit,) = server.client.vector_stores.search(store, query="How deep is the lake?", max_num_results=1).data
    assert hit.filename == "lake.md"
    assert [part.model_dump() for part in hit.content] == [{"text": LAKE, "type": "text"}]
    assert hit.attributes == {"year": 2020, "wet": True, "day": "2020-02-29", "dept": "süd"}
    assert server.client.files.retrieve(hit.file_id).filename == "lake.md"
    assert file_id_of(server.stores.state, store, "lake.md") == hit.file_id
    least = {"score_threshold": hit.score + 0.01}
    assert server.texts(store, "How deep is the lake?", ranking_options=least) == []
    assert server.texts(store, "How deep is the lake?", ranking_options={"score_threshold": 0.0})[0] == LAKE


def test_several_queries_are_joined_by_the_best_score(server: StoreServer, store: str) -> None:
    queries = ["five arches", "metres deep", "arches"]
    page = server.client.vector_stores.search(store, query=queries, rewrite_query=True)
    single = {
        hit.filename: hit.score
        for query in queries[:2]
        for hit in server.client.vector_stores.search(store, query=query)
    }
    assert {hit.filename: hit.score for hit in page} == pytest.approx(single)
    scores = [hit.score for hit in page]
    assert scores == sorted(scores, reverse=True)
    assert page.model_extra is not None
    assert page.model_extra["search_query"] == queries


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"query": ""}, "query 1 is empty"),
        ({"query": ["a", " "]}, "query 2 is empty"),
        ({"query": []}, "query"),
        ({"query": "a", "max_num_results": 0}, "max_num_results"),
        ({"query": "a", "max_num_results": 51}, "max_num_results"),
        ({"query": "a", "filters": {"type": "near"}}, "known: eq"),
        ({"query": "a", "filters": {"type": "eq", "key": "colour", "value": 1}}, "no document has the attribute"),
        ({"query": "a", "filters": {"type": "eq", "key": "year", "value": "x"}}, "is a number in every document"),
        ({"query": "a", "colour": 1}, "unknown field 'colour'; known here: filters, max_num_results"),
        ({"query": "a", "max_results": 3}, "unknown field 'max_results'; did you mean 'max_num_results'?"),
        (
            {"query": "a", "ranking_options": {"score_treshold": 1}},
            "unknown field 'ranking_options.score_treshold'; did you mean 'score_threshold'?",
        ),
        (
            {"query": "a", "ranking_options": {"ranker": "nix"}},
            "ranker = 'nix': Input should be 'none', 'auto' or",
        ),
        (
            {"query": "a", "ranking_options": {"hybrid_search": {"text_wait": 1}}},
            "unknown field 'ranking_options.hybrid_search.text_wait'; did you mean 'text_weight'?",
        ),
        ({"query": "a\ud800"}, "no text"),
    ],
)
def test_searches_that_are_refused(server: StoreServer, store: str, body: Any, reason: str) -> None:
    reply = httpx.post(f"{server.url}/v1/vector_stores/{store}/search", content=json.dumps(body), headers=_JSON)
    assert reply.status_code == 400
    assert reason in reply.json()["error"]["message"]


@pytest.mark.parametrize("ranker", ["none", "auto", "default-2024-11-15"])
def test_rankers_that_openai_knows_are_taken(server: StoreServer, store: str, ranker: str) -> None:
    weights = {"embedding_weight": 1, "text_weight": 0.5}
    ranking: Any = {"ranker": ranker, "score_threshold": 0, "hybrid_search": weights}
    assert server.texts(store, "How deep is the lake?", ranking_options=ranking)[0] == LAKE


@pytest.mark.parametrize(
    ("body", "param", "reason"),
    [
        ({"query": []}, "query", "at least 1 item"),
        ({"query": ["a", 5]}, "query.1", "query.1 = 5: Input should be a valid string"),
        (
            {"query": "a", "filters": []},
            "filters",
            "filters = []: Input should be a valid dictionary or a valid string",
        ),
    ],
)
def test_a_fault_is_told_by_the_name_that_the_client_gave(
    server: StoreServer, store: str, body: Any, param: str, reason: str
) -> None:
    reply = httpx.post(f"{server.url}/v1/vector_stores/{store}/search", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param)
    assert reason in error["message"]


def test_a_parameter_of_the_address_is_told_by_its_name(server: StoreServer) -> None:
    reply = httpx.get(f"{server.url}/v1/vector_stores", params={"limit": 0})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, "limit")
    assert error["message"].startswith("limit = '0': Input should be greater than")


def test_attributes_change_without_reading_again(server: StoreServer) -> None:
    made = server.store_of({"lake.md": LAKE})
    (file,) = server.client.vector_stores.files.list(made).data
    wanted: dict[str, str | float | bool] = {"year": 7, "label": "x" * 512}
    changed = server.client.vector_stores.files.update(file.id, vector_store_id=made, attributes=wanted)
    assert changed.attributes == wanted
    assert changed.status == "completed"
    server.wait(lambda: server.stores.state.rows("SELECT count(*) FROM jobs WHERE store = ?", [made]) == [(0,)])
    assert server.texts(made, "lake", filters={"type": "eq", "key": "year", "value": 7}) == [LAKE]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"a": "x" * 513}, "at most 512"),
        ({f"k{n}": n for n in range(17)}, "at most 16"),
        ({"x" * 65: 1}, "cannot name an attribute"),
        ({"two words": 1}, "cannot name an attribute"),
        ({"and": 1}, "word of the filter language"),
        ({"a": [1]}, "give a string, a number"),
        ({"a": None}, "give a string, a number"),
        ({"a": 2**70}, "64 bits"),
    ],
)
def test_attributes_that_are_refused(server: StoreServer, store: str, attributes: Any, reason: str) -> None:
    file = server.upload("a.txt", "a")
    with pytest.raises(openai.BadRequestError, match=reason):
        server.client.vector_stores.files.create(store, file_id=file, attributes=attributes)
    assert file not in [one.id for one in server.client.vector_stores.files.list(store)]


def test_files_of_one_name_stay_apart(server: StoreServer) -> None:
    ids = [server.upload("report.txt", f"Report number {n}.") for n in range(3)]
    made = server.client.vector_stores.create().id
    server.attach(made, ids)
    found = server.client.vector_stores.search(made, query="report")
    assert sorted((hit.filename, hit.content[0].text) for hit in found) == [
        ("report.txt", f"Report number {n}.") for n in range(3)
    ]
    assert {hit.file_id for hit in found} == set(ids)


def test_the_same_bytes_in_a_store_twice_are_told(server: StoreServer) -> None:
    made = server.client.vector_stores.create().id
    said = []
    for name, content in (("a.md", LAKE), ("a.md", LAKE), ("b.md", LAKE), ("c.md", BRIDGE)):
        file = server.client.vector_stores.files.upload_and_poll(
            vector_store_id=made, file=(name, content.encode())
        )
        assert file.model_extra is not None
        said.append(file.model_extra["ragkit"])
    copy = said[1]["document"]
    assert copy.startswith("a~")
    assert [one["warnings"] for one in said] == [
        [],
        ["the same bytes are in this vector store as 'a.md'"],
        [f"the same bytes are in this vector store as 'a.md', {copy!r}"],
        [],
    ]


def test_a_file_taken_out_is_not_found_any_more(server: StoreServer) -> None:
    made = server.store_of({"lake.md": LAKE, "bridge.txt": BRIDGE})
    (lake,) = (hit.file_id for hit in server.client.vector_stores.search(made, query="41 metres deep"))
    gone = server.client.vector_stores.files.delete(lake, vector_store_id=made)
    assert (gone.deleted, gone.object) == (True, "vector_store.file.deleted")
    assert server.texts(made, "lake metres deep bridge") == [BRIDGE]
    assert server.client.files.retrieve(lake).filename == "lake.md"
    with pytest.raises(openai.NotFoundError):
        server.client.vector_stores.files.retrieve(lake, vector_store_id=made)
    assert file_id_of(server.stores.state, made, "lake.md") is None
    server.attach(made, [lake])
    assert len(server.texts(made, "lake metres deep bridge")) == 2
    server.client.files.delete(lake)
    assert [file.id for file in server.client.vector_stores.files.list(made)] != [lake]
    assert server.texts(made, "lake metres deep bridge") == [BRIDGE]


@pytest.mark.parametrize(
    ("name", "content", "code", "reason"),
    [
        ("a.pdf", b"%PDF-1.4 nothing", "invalid_file", ""),
        ("a.txt", b"", "invalid_file", "0 bytes"),
        ("a.zip", b"PK\x03\x04garbage", "unsupported_file", ""),
        ("a.docx", b"PK\x03\x04garbage", "invalid_file", "damaged or truncated"),
        ("a.exe", b"MZ\x90\0\3\0\0\0", "unsupported_file", ""),
        ("a.mp3", b"ID3\3\0\xff\xfb", "unsupported_file", ""),
        ("a.bin", b"\x80\x81\x82", "unsupported_file", ""),
        ("a.txt", b"MZ\x90\0", "invalid_file", "not utf-8 text"),
        ("pdf.bin", b"%PDF-1.4 \0\xff", "invalid_file", ""),
        ("a.gif", b"GIF89a\0\0", "unsupported_file", "convert it to PNG"),
        ("a.pdf", b"just text", "unsupported_file", "the name says application/pdf"),
    ],
)
def test_why_a_file_failed(server: StoreServer, name: str, content: bytes, code: str, reason: str) -> None:
    made = server.client.vector_stores.create().id
    file = server.client.vector_stores.files.create_and_poll(server.upload(name, content), vector_store_id=made)
    assert file.status == "failed"
    assert file.last_error is not None
    assert file.last_error.code == code
    assert reason in file.last_error.message
    assert str(server.folder) not in file.last_error.message
    assert server.client.vector_stores.retrieve(made).file_counts.failed == 1


def test_a_list_of_files_is_paged_and_filtered(server: StoreServer) -> None:
    ids = [server.upload(f"{n}.txt", f"text {n}") for n in range(5)]
    broken = server.upload("broken.pdf", b"%PDF-1.4")
    made = server.client.vector_stores.create().id
    order = [ids[3], ids[0], broken, ids[4], ids[1], ids[2]]
    server.attach(made, order)
    files = server.client.vector_stores.files
    assert [file.id for file in files.list(made, order="asc", limit=2)] == order
    assert [file.id for file in files.list(made, limit=4)] == order[::-1]
    assert [file.id for file in files.list(made, filter="failed")] == [broken]
    assert [file.id for file in files.list(made, filter="completed", order="asc", limit=2)] == [
        id_ for id_ in order if id_ != broken
    ]
    page = files.list(made, order="asc", before=order[4], limit=2)
    assert ([file.id for file in page.data], page.has_more) == (order[2:4], True)
    for file in files.list(made, order="asc", limit=2):
        files.delete(file.id, vector_store_id=made)
    assert files.list(made).data == []
    with pytest.raises(openai.NotFoundError):
        files.list(made, after="file-0123456789abcdef01234567")


def test_batches(server: StoreServer) -> None:
    made = server.client.vector_stores.create().id
    texts = [(f"{n}.txt", f"text number {n}".encode()) for n in range(4)]
    batch = server.client.vector_stores.file_batches.upload_and_poll(made, files=texts)
    assert (batch.status, batch.file_counts.completed, batch.object) == (
        "completed",
        4,
        "vector_store.files_batch",
    )
    others = [server.upload(f"{n}.md", f"other {n}") for n in range(3)]
    second = server.client.vector_stores.file_batches.create(
        made,
        files=[{"file_id": id_, "attributes": {"n": n}} for n, id_ in enumerate(others)],
    )
    server.wait(
        lambda: (
            server.client.vector_stores.file_batches.retrieve(second.id, vector_store_id=made).status
            == "completed"
        )
    )
    listed = server.client.vector_stores.file_batches.list_files(
        second.id, vector_store_id=made, order="asc", limit=2
    )
    assert [(file.id, file.attributes) for file in listed] == [(id_, {"n": n}) for n, id_ in enumerate(others)]
    assert server.client.vector_stores.retrieve(made).file_counts.completed == 7


def test_a_cancelled_batch_stops_before_its_next_file(server: StoreServer) -> None:
    ids = [server.upload(f"{n}.txt", f"text {n}") for n in range(30)]
    made = server.client.vector_stores.create().id
    batches = server.client.vector_stores.file_batches
    batch = batches.create(made, file_ids=ids)
    cancelled = batches.cancel(batch.id, vector_store_id=made)
    assert cancelled.file_counts.cancelled >= 15
    server.wait(lambda: batches.retrieve(batch.id, vector_store_id=made).status == "cancelled")
    counts = batches.retrieve(batch.id, vector_store_id=made).file_counts
    assert counts.total == 30
    assert counts.completed + counts.cancelled == 30
    assert counts.cancelled == cancelled.file_counts.cancelled
    statuses = {
        file.status for file in server.client.vector_stores.files.list(made, filter="cancelled", limit=100)
    }
    assert statuses == {"cancelled"}
    server.attach(made, ids)
    assert server.client.vector_stores.retrieve(made).file_counts.completed == 30


def test_stores_change_and_go(server: StoreServer) -> None:
    made = server.client.vector_stores.create(
        name="first", metadata={"a": "1"}, expires_after={"anchor": "last_active_at", "days": 7}
    )
    assert made.expires_after is not None
    assert made.expires_after.days == 7
    assert made.last_active_at is not None
    assert made.expires_at == made.last_active_at + 7 * 86_400
    changed = server.client.vector_stores.update(made.id, name="second")
    assert (changed.name, changed.metadata) == ("second", {"a": "1"})
    assert changed.expires_after is not None
    changed = server.client.vector_stores.update(made.id, metadata=None, expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_after) == ("second", {}, None)
    server.attach(made.id, [server.upload("lake.md", LAKE)])
    chat = server.client.chat.completions.create(model="second", messages=QUESTION)
    assert "41 metres" in str(chat.choices[0].message.content)
    folder = server.folder / "corpora" / made.id
    assert folder.exists()
    gone = server.client.vector_stores.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    for call in (server.client.vector_stores.retrieve, server.client.vector_stores.delete):
        with pytest.raises(openai.NotFoundError, match="there is no vector store"):
            call(made.id)
    with pytest.raises(openai.NotFoundError):
        server.texts(made.id, "lake")
    with pytest.raises(openai.NotFoundError):
        server.client.chat.completions.create(model=made.id, messages=QUESTION)
    server.wait(lambda: not folder.exists(), 20)


def test_an_expired_store_says_so(server: StoreServer) -> None:
    made = server.client.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1})
    server.attach(made.id, [server.upload("lake.md", LAKE)])
    with server.stores.state.change() as connection:
        connection.execute(
            "UPDATE stores SET last_active_at = ? WHERE id = ?", [int(time.time()) - 86_400, made.id]
        )
    assert server.client.vector_stores.retrieve(made.id).status == "expired"
    with pytest.raises(openai.BadRequestError, match="has expired"):
        server.texts(made.id, "lake")
    with pytest.raises(openai.BadRequestError, match="has expired"):
        server.client.vector_stores.files.create(made.id, file_id=server.upload("a.txt", "a"))
    assert made.id not in [model.id for model in server.client.models.list()]
    server.wait(lambda: not (server.folder / "corpora" / made.id).exists(), 20)
    assert server.client.vector_stores.retrieve(made.id).usage_bytes == 0


def test_people_read_names_of_stores_and_programs_their_ids(server: StoreServer) -> None:
    named = server.store_of({"lake.md": LAKE}, name="Häfen & <Seen>")
    nameless = server.client.vector_stores.create().id
    told = {model.id: model.to_dict()["ragkit"] for model in server.client.models.list()}
    assert told["animals"] == {"name": "animals", "kind": "corpus"}
    assert told[named] == {"name": "Häfen & <Seen>", "kind": "vector_store"}
    assert told[nameless] == {"name": nameless, "kind": "vector_store"}
    for asked in (named, "Häfen & <Seen>"):
        one = server.client.models.retrieve(asked)
        assert (one.id, one.to_dict()["ragkit"]) == (asked, told[named])
    reply = server.client.chat.completions.create(
        model=named, messages=[{"role": "user", "content": "How deep is Lake Ohm?"}]
    )
    link = reply.choices[0].message.annotations[0].url_citation.url
    page = httpx.get(link, headers={"accept": "text/html"}).text
    assert '<p class="corpus" dir="auto">Häfen &amp; &lt;Seen&gt;</p>' in page
    assert httpx.get(link, headers={"accept": "application/json"}).json()["corpus"] == named


def test_stores_are_paged(server: StoreServer) -> None:
    ids = [server.client.vector_stores.create(name=f"paged {n}").id for n in range(5)]
    newest = [store.id for store in server.client.vector_stores.list(limit=2)]
    assert newest[:5] == ids[::-1]
    assert newest[-1] == "animals"
    oldest = server.client.vector_stores.list(order="asc", limit=1)
    assert [store.id for store in oldest.data] == ["animals"]
    assert oldest.has_more
    before = server.client.vector_stores.list(order="asc", limit=2, before=ids[3])
    assert [store.id for store in before.data] == ids[1:3]
    for store in server.client.vector_stores.list(limit=2):
        if store.id in ids:
            server.client.vector_stores.delete(store.id)
    assert not set(ids) & {store.id for store in server.client.vector_stores.list()}


def test_sizes_of_passages_are_the_stores(server: StoreServer) -> None:
    words = " ".join(f"Sentence number {n} is here." for n in range(80))
    cut = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    made = server.client.vector_stores.create(chunking_strategy=cut).id  # type: ignore[arg-type]
    server.attach(made, [server.upload("long.txt", words)])
    whole = server.store_of({"long.txt": words})
    found = server.texts(made, "Sentence", max_num_results=50)
    # Six words and a full stop a sentence; sixteen of them are less than a hundred tokens.
    assert max(len(text.split()) for text in found) <= 100
    assert len(found) > len(server.texts(whole, "Sentence", max_num_results=50)) >= 2
    (file,) = server.client.vector_stores.files.list(made).data
    assert file.chunking_strategy is not None
    assert file.chunking_strategy.model_dump() == cut
    other = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 0}}
    again = server.upload("a.txt", "a")
    for store in (made, whole):
        with pytest.raises(openai.BadRequestError, match="are cut alike"):
            server.client.vector_stores.files.create(store, file_id=again, chunking_strategy=other)  # type: ignore[arg-type]
    for wrong in (
        {"max_chunk_size_tokens": 99, "chunk_overlap_tokens": 0},
        {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51},
    ):
        with pytest.raises(openai.BadRequestError):
            server.client.vector_stores.create(chunking_strategy={"type": "static", "static": wrong})  # type: ignore[arg-type]


def test_a_corpus_of_the_server_is_a_store_that_cannot_be_changed(server: StoreServer) -> None:
    client = server.client
    found = client.vector_stores.retrieve("animals")
    assert (found.name, found.status, found.file_counts.completed) == ("animals", "completed", 2)
    heron, otter = (external_file_id("animals", name) for name in ("heron.txt", "otter.pdf"))
    listed = client.vector_stores.files.list("animals", order="asc", limit=1)
    assert [file.id for file in listed] == [heron, otter]
    file = client.vector_stores.files.retrieve(heron, vector_store_id="animals")
    assert file.attributes == {"day": "2020-05-01", "legs": 2}
    parts = client.vector_stores.files.content(otter, vector_store_id="animals")
    assert [part.text for part in parts] == ["The otter sleeps by day."]
    (hit,) = client.vector_stores.search(
        "animals", query="heron weir", filters={"type": "eq", "key": "legs", "value": 2}
    )
    assert (hit.file_id, hit.filename, hit.attributes) == (heron, "heron.txt", {"day": "2020-05-01", "legs": 2})
    assert client.files.retrieve(heron).filename == "heron.txt"
    upload = server.upload("a.txt", "a")
    for call in (
        lambda: client.vector_stores.delete("animals"),
        lambda: client.vector_stores.update("animals", name="plants"),
        lambda: client.vector_stores.files.create("animals", file_id=upload),
        lambda: client.vector_stores.files.delete(heron, vector_store_id="animals"),
        lambda: client.vector_stores.files.update(heron, vector_store_id="animals", attributes={}),
        lambda: client.vector_stores.file_batches.create("animals", file_ids=[upload]),
    ):
        with pytest.raises(openai.PermissionDeniedError, match="read-only"):
            call()


def test_files_that_are_not_there_change_nothing(server: StoreServer, store: str) -> None:
    gone = server.upload("a.txt", "a")
    server.client.files.delete(gone)
    before = server.client.vector_stores.retrieve(store).file_counts
    there = server.upload("b.txt", "b")
    for call in (
        lambda: server.client.vector_stores.files.create(store, file_id=gone),
        lambda: server.client.vector_stores.file_batches.create(store, file_ids=[there, gone]),
        lambda: server.client.vector_stores.create(file_ids=[there, gone]),
        lambda: server.client.vector_stores.files.create("vs_0123456789abcdef01234567", file_id=there),
    ):
        with pytest.raises(openai.NotFoundError, match="there is no"):
            call()
    assert server.client.vector_stores.retrieve(store).file_counts == before


def test_a_server_without_a_folder_shows_its_corpora_and_takes_no_files(tmp_path: Path) -> None:
    from ragkit.hosting.library import FolderLibrary
    from ragkit.serve.api.app import create_app
    from tests.serve.house import running

    (tmp_path / "lake.txt").write_text(LAKE)
    with Corpus.open(tmp_path / "waters", config={"embedder": {"name": "none"}}) as waters:
        waters.add(tmp_path / "lake.txt")
        with (
            running(create_app(FolderLibrary([waters]))) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ):
            assert [store.id for store in client.vector_stores.list()] == ["waters"]
            (hit,) = client.vector_stores.search("waters", query="lake")
            assert hit.content[0].text == LAKE
            for call in (client.vector_stores.create, client.files.list):
                with pytest.raises(openai.PermissionDeniedError, match="--store"):
                    call()


def test_stores_come_and_go_while_they_are_listed(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = server.stores.stores
    store = server.client.vector_stores.create(name="here").id
    real, calls = shelf.all_ids, []

    def all_ids() -> list[str]:
        # It is made between the first look and the second; another one has been deleted since the look.
        calls.append(1)
        ids = [id_ for id_ in real() if len(calls) > 1 or id_ != store]
        return [*ids, "vs_" + "f" * 24]

    monkeypatch.setattr(shelf, "all_ids", all_ids)
    listed = server.client.vector_stores.list(limit=2).data
    assert listed[0].id == store
    assert listed[0].name == "here"


def test_a_busy_database_does_not_hold_up_the_event_loop(server: StoreServer) -> None:
    with ThreadPoolExecutor(1) as thread:
        with server.stores.state.change():
            waiting = thread.submit(httpx.get, f"{server.url}/v1/models", timeout=30)
            time.sleep(0.2)
            assert httpx.get(f"{server.url}/health", timeout=5).status_code == 200
            assert not waiting.done()
        assert waiting.result().status_code == 200


def test_a_name_that_two_stores_have_names_neither(server: StoreServer) -> None:
    client = server.client
    first, second = (client.vector_stores.create(name="Team ß").id for _ in range(2))
    told = f"several vector stores have the name 'Team ß'; name one by its id: {first}, {second}"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="Team ß", messages=QUESTION)
    assert isinstance(caught.value.body, dict)
    assert (caught.value.body["message"], caught.value.code, caught.value.param) == (
        told,
        "ambiguous_name",
        "model",
    )
    with pytest.raises(openai.BadRequestError, match="several vector stores have the name") as caught:
        client.responses.create(input="How deep?", tools=[{"type": "file_search", "vector_store_ids": ["Team ß"]}])
    client.vector_stores.delete(second)
    assert client.models.retrieve("Team ß")
    client.vector_stores.delete(first)
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="Team ß", messages=QUESTION)
