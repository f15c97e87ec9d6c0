"""The process that indexes may be killed, by its limits or with the server; what waits goes on."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from ragkit.indexers.lock import writer_lock
from ragkit.serve.stores.index_process import memory_of_group
from tests.pdf_maker import make_pdf
from tests.serve.stores.store_house import store_server
from tests.warm_python import SERVER, WarmProcess, WarmPython

SMALL = "The otter sleeps by day."


def big_pdf(folder: Path, pages: int) -> bytes:
    text = "\n".join(f"Line {n} of a page that says nothing new to anybody." for n in range(50))
    return make_pdf(folder / "big.pdf", [text] * pages).read_bytes()


def test_a_file_that_takes_too_long_is_ended_and_the_next_goes_on(tmp_path: Path) -> None:
    content = big_pdf(tmp_path, 1600)
    with store_server(tmp_path / "store", index_timeout_s=1.5) as server:
        store = server.client.vector_stores.create().id
        big, small = server.upload("big.pdf", content), server.upload("small.txt", SMALL)
        server.attach(store, [big, small])
        files = server.client.vector_stores.files
        failed = files.retrieve(big, vector_store_id=store)
        assert failed.status == "failed"
        assert failed.last_error is not None
        assert failed.last_error.code == "server_error"
        assert failed.last_error.message.startswith("indexing took more than 1.5 s")
        assert files.retrieve(small, vector_store_id=store).status == "completed"
        assert server.texts(store, "otter") == [SMALL]


def test_a_file_that_takes_too_much_memory_is_ended(tmp_path: Path) -> None:
    content = big_pdf(tmp_path, 300)
    with store_server(tmp_path / "store", index_memory_mb=5) as server:
        store = server.client.vector_stores.create().id
        server.attach(store, [server.upload("big.pdf", content)])
        (failed,) = server.client.vector_stores.files.list(store).data
        assert failed.last_error is not None
        assert failed.last_error.message.startswith("indexing took more than 5 MB of memory")


def test_a_file_of_too_many_pages_is_refused_without_reading_it(tmp_path: Path) -> None:
    with store_server(tmp_path / "store", max_pages=3) as server:
        store = server.client.vector_stores.create().id
        many, few = (server.upload(f"{n}.pdf", big_pdf(tmp_path, n)) for n in (4, 3))
        server.attach(store, [many, few])
        failed = server.client.vector_stores.files.retrieve(many, vector_store_id=store)
        assert failed.last_error is not None
        assert failed.last_error.code == "invalid_file"
        assert failed.last_error.message == "it has 4 pages; at most 3 are indexed"
        done = server.client.vector_stores.files.retrieve(few, vector_store_id=store)
        assert done.model_extra is not None
        assert (done.model_extra["ragkit"]["pages"], done.status) == (3, "completed")


@pytest.mark.slow
def test_a_process_that_dies_fails_its_file_alone(tmp_path: Path) -> None:
    content = big_pdf(tmp_path, 400)
    with store_server(tmp_path / "store") as server:
        store = server.client.vector_stores.create().id
        big, small = server.upload("big.pdf", content), server.upload("small.txt", SMALL)
        server.client.vector_stores.file_batches.create(store, file_ids=[big, small])
        files = server.client.vector_stores.files

        def pages_done() -> int:
            extra = files.retrieve(big, vector_store_id=store).model_extra
            assert extra is not None
            return int(extra["ragkit"]["pages_done"])

        server.wait(lambda: pages_done() > 0)
        os.killpg(worker_of(os.getpid()), signal.SIGSEGV)
        server.wait(lambda: files.retrieve(small, vector_store_id=store).status == "completed")
        failed = files.retrieve(big, vector_store_id=store)
        assert failed.last_error is not None
        assert failed.last_error.message == "the process that read the file crashed (SIGSEGV)"


def test_a_file_or_store_is_deleted_in_the_middle_of_its_indexing(tmp_path: Path) -> None:
    content = big_pdf(tmp_path, 400)
    with store_server(tmp_path / "store") as server:
        first, second = (server.client.vector_stores.create().id for _ in range(2))
        big, small = server.upload("big.pdf", content), server.upload("small.txt", SMALL)
        server.client.vector_stores.file_batches.create(first, file_ids=[big, small])
        server.wait(lambda: server.stores.desk.progress_of(first, big).pages_done > 0)
        stages = [one.model_extra["ragkit"]["stage"] for one in server.client.vector_stores.files.list(first)]
        assert stages == ["waiting", "reading"]
        server.client.vector_stores.files.delete(big, vector_store_id=first)
        server.wait(lambda: server.client.vector_stores.retrieve(first).file_counts.completed == 1, 30)
        assert server.texts(first, "nothing new to anybody otter") == [SMALL]

        server.client.vector_stores.file_batches.create(second, file_ids=[big, small])
        server.wait(lambda: server.stores.desk.progress_of(second, big).pages_done > 0)
        server.client.vector_stores.delete(second)
        server.wait(lambda: not (server.folder / "corpora" / second).exists(), 30)
        third = server.store_of({"other.txt": "The heron nests."})
        assert server.texts(third, "heron") == ["The heron nests."]
        assert server.stores.state.rows("SELECT count(*) FROM jobs") == [(0,)]


def test_a_database_that_fails_for_a_while_does_not_end_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store_server(tmp_path) as server:
        queue = server.stores.desk._queue
        broken = dict.fromkeys(("next", "done"), 7)

        def failing(name: str) -> object:
            real = getattr(queue, name)

            def call(*arguments: object) -> object:
                broken[name] -= 1
                if broken[name] >= 0:
                    raise sqlite3.OperationalError("database or disk is full")
                return real(*arguments)

            return call

        # Also when the failure is to be written down, after five attempts.
        monkeypatch.setattr("ragkit.serve.stores.job_queue._LONGEST_WAIT_S", 0.05)
        for name in broken:
            monkeypatch.setattr(queue, name, failing(name))
        store = server.store_of({"a.txt": "an otter"})
        assert server.client.vector_stores.retrieve(store).file_counts.total == 1
        assert max(broken.values()) < 0


def test_a_corpus_that_somebody_else_writes_to_is_waited_for(tmp_path: Path) -> None:
    with store_server(tmp_path / "store") as server:
        store = server.store_of({"first.txt": "The heron nests."})
        with writer_lock(server.folder / "corpora" / store):
            server.client.vector_stores.files.create(store, file_id=server.upload("small.txt", SMALL))
            other = server.store_of({"other.txt": "The weir is closed."})
            assert server.texts(other, "weir") == ["The weir is closed."]
            assert server.client.vector_stores.retrieve(store).file_counts.in_progress == 1
        server.wait(lambda: server.client.vector_stores.retrieve(store).file_counts.completed == 2, 30)
        assert server.texts(store, "otter") == [SMALL]


def test_stores_take_turns(tmp_path: Path) -> None:
    with store_server(tmp_path / "store") as server:
        many = [server.upload(f"{n}.txt", f"text {n}") for n in range(40)]
        one = server.upload("one.txt", SMALL)
        crowded, quiet = (server.client.vector_stores.create().id for _ in range(2))
        server.client.vector_stores.file_batches.create(crowded, file_ids=many)
        file = server.client.vector_stores.files.create_and_poll(one, vector_store_id=quiet, poll_interval_ms=10)
        assert file.status == "completed"
        assert server.client.vector_stores.retrieve(crowded).file_counts.in_progress > 0


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path, warm_python: WarmPython) -> None:
    config = tmp_path / "ragkit.toml"
    config.write_text('[embedder]\nname = "none"\n')
    texts = {f"{n}.txt": f"Number {n} is a number." for n in range(20)}
    with served(warm_python, tmp_path / "store", config) as (client, process):
        ids = [
            client.files.create(file=(name, text.encode()), purpose="assistants").id
            for name, text in texts.items()
        ]
        ids.insert(3, client.files.create(file=("big.pdf", big_pdf(tmp_path, 20)), purpose="assistants").id)
        store = client.vector_stores.create().id
        batch = client.vector_stores.file_batches.create(store, file_ids=ids).id
        wait_until(lambda: client.vector_stores.retrieve(store).file_counts.completed >= 2)
        worker = worker_of(process.pid)
        process.kill()
        process.wait()
        # What the server has started ends with it.
        wait_until(lambda: memory_of_group(worker) == 0)
    with served(warm_python, tmp_path / "store", config) as (client, _):
        wait_until(
            lambda: client.vector_stores.file_batches.retrieve(batch, vector_store_id=store).status == "completed"
        )
        assert client.vector_stores.retrieve(store).file_counts.completed == 21
        found = client.vector_stores.search(store, query="Number 7", max_num_results=50).data
        assert sorted(hit.content[0].text for hit in found if hit.filename != "big.pdf") == sorted(texts.values())


@contextmanager
def served(python: WarmPython, folder: Path, config: Path) -> Iterator[tuple[openai.OpenAI, WarmProcess]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "ragkit", "serve", "--store", str(folder), "--port", str(port), "--config", str(config)]
    with (
        python.start(command, libraries=SERVER) as process,
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
    ):
        try:
            wait_until(lambda: answers(client))
            yield client, process
        finally:
            process.kill()


def answers(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.APIConnectionError:
        return False
    return True


def worker_of(server: int) -> int:
    """The process that indexes for a server."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    for thread in Path(f"/proc/{server}/task").iterdir():
        children += (thread / "children").read_text().split()
    for child in children:
        if b"ragkit.hosting.index_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no process indexes")


def wait_until(condition: object, patience_s: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _linux_alone() -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
