"""The server's database: ids, turns, rules and names, without a server."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError, CorpusDamagedError
from ragkit.serve.stores.document_names import marked_name, safe_name
from ragkit.serve.stores.file_ids import external_file_id, file_id_of
from ragkit.serve.stores.file_shelf import FileShelf
from ragkit.serve.stores.ids import FILE, STORE, IdMaker, is_id
from ragkit.serve.stores.job_queue import JobQueue
from ragkit.serve.stores.rows import Outcome
from ragkit.serve.stores.rules import AttachFile, CreateStore
from ragkit.serve.stores.state import FILE_NAME, ServerState
from ragkit.serve.stores.store_files import StoreFiles
from ragkit.serve.stores.store_shelf import StoreShelf


class House:
    def __init__(self, folder: Path) -> None:
        self.state = ServerState(folder)
        self.shelf, self.stores = FileShelf(self.state), StoreShelf(self.state)
        self.files, self.queue = StoreFiles(self.state), JobQueue(self.state)

    def upload(self, name: str, content: bytes = b"x") -> str:
        path = self.shelf.uploads / "one"
        path.write_bytes(content)
        return self.shelf.add(path, name, "assistants", None).id

    def attach(self, store: str, *names: str) -> list[str]:
        rows = self.shelf.get_many([self.upload(name) for name in names])
        self.files.attach(store, [(row, AttachFile(file_id=row.id)) for row in rows.values()])
        return list(rows)

    def work(self, number: int) -> list[tuple[str, str, str]]:
        done = []
        for _ in range(number):
            job = self.queue.next()
            assert job is not None
            done.append((job.store, job.kind, job.document))
            self.queue.done(job, Outcome("completed", pages=1) if job.kind == "add" else None)
        return done


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.state.close()


def test_ids_sort_by_time_even_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5_000_000, 6_000_000, 1_000_000, 1_000_000, 7_000_000])
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    maker = IdMaker()
    ids = [maker.make(STORE) for _ in range(5)]
    assert ids == sorted(ids)
    assert all(is_id(id_, STORE) and not is_id(id_, FILE) for id_ in ids)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert IdMaker(ids[-1].removeprefix(STORE)).make(STORE) > ids[-1]


def test_ids_go_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    first = house.upload("a.txt")
    house.state.close()
    monkeypatch.setattr("time.time_ns", lambda: 0)
    house = House(tmp_path)
    assert house.upload("b.txt") > first
    house.state.close()


def test_stores_take_turns_and_removals_come_first(house: House) -> None:
    one, two = (house.stores.create(CreateStore()).id for _ in range(2))
    first = house.attach(one, "a1", "a2", "a3")
    house.attach(two, "b1", "b2")
    assert house.work(2) == [(one, "add", "a1"), (two, "add", "b1")]
    house.files.set_attributes(one, first[0], {"year": 1})
    house.files.detach(one, first[1])
    assert house.work(4) == [
        (one, "attributes", "a1"),
        (one, "remove", "a2"),
        (two, "add", "b2"),
        (one, "add", "a3"),
    ]
    assert house.queue.next() is None


def test_what_cannot_be_done_now_lets_others_go_first(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    house.attach(store, "a", "b")
    job = house.queue.next()
    assert job is not None
    house.queue.postpone(job)
    assert house.work(1) == [(store, "add", "b")]
    assert house.queue.next() is None
    wait_s = house.queue.wait_s()
    assert wait_s is not None
    assert 1 < wait_s <= 2


def test_the_outcome_of_a_file_that_was_taken_out_meanwhile_is_dropped(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    (file,) = house.attach(store, "a")
    job = house.queue.next()
    assert job is not None
    assert house.queue.begin(job) is not None
    house.files.detach(store, file)
    assert house.queue.begin(job) is None
    assert not house.queue.done(job, Outcome("completed"))
    assert house.work(1) == [(store, "remove", "a")]


def test_documents_and_files(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    first, second = house.attach(store, "a.txt", "a.txt")
    assert file_id_of(house.state, store, "a.txt") == first
    assert file_id_of(house.state, store, marked_name("a.txt", second)) == second
    assert file_id_of(house.state, store, "b.txt") is None
    assert file_id_of(house.state, "papers", "b.txt") == external_file_id("papers", "b.txt")
    assert file_id_of(None, "papers", "b.txt") == external_file_id("papers", "b.txt")
    assert external_file_id("a", "b") != external_file_id("ab", "")


def test_threads_may_share_it(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(10):
                path = house.shelf.uploads / f"{number}"
                path.write_bytes(b"x")
                row = house.shelf.add(path, f"{count}.txt", "assistants", None)
                house.files.attach(store, [(row, AttachFile(file_id=row.id))])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert house.stores.counts([store])[store][0].in_progress == 60


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    state = ServerState(tmp_path)
    with pytest.raises(ConfigError, match="in use by another server"):
        ServerState(tmp_path)
    state.close()
    ServerState(tmp_path).close()


@pytest.mark.parametrize("content", [b"this is no database, and never was one" * 100, None])
def test_databases_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    else:
        ServerState(tmp_path).close()
        connection = sqlite3.connect(tmp_path / FILE_NAME)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    with pytest.raises(CorpusDamagedError, match=r"cannot be read|has format 99"):
        ServerState(tmp_path)


@given(st.text(max_size=400))
def test_a_name_is_never_a_path(given_name: str) -> None:
    name = safe_name(given_name)
    assert name not in ("", ".", "..")
    assert len(name) <= 200
    assert not set(name) & set("/\\\0\r\n\t\x7f\u2028")
    assert name.encode()
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("rtl\u202egpj.pdf.txt", "rtlgpj.pdf.txt"),
        ("\u2066a\u2069\u200e.\u200f\u061cpdf\u202a\u202c", "a.pdf"),
        ("in\u200bvisi\u00adble\ufeff\u2060\U000e0041.md", "invisible.md"),
        ("\u202e\u200d.\u200c", "upload"),
        ("می\u200cخواهم 👩\u200d🔬 \u06dd5.md", "می\u200cخواهم 👩\u200d🔬 \u06dd5.md"),
    ],
)
def test_a_name_looks_like_no_other(given_name: str, name: str) -> None:
    assert safe_name(given_name) == name


def test_a_name_that_looks_marked_is_no_obstacle(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    first, second = house.upload("a.txt"), house.upload("a.txt")
    # Ids are known once a file is uploaded, so that somebody can name a file by the end of one.
    third, fourth = house.upload(f"a~{second[-8:]}.txt"), house.upload(f"a~{second[-8:]}-2.txt")
    rows = house.shelf.get_many([first, second, third, fourth])
    files = [(rows[id_], AttachFile(file_id=id_)) for id_ in (first, third, fourth, second)]
    attached, _ = house.files.attach(store, files)
    names = [row.document for row in attached]
    end = second[-8:]
    assert names == ["a.txt", f"a~{end}.txt", f"a~{end}-2.txt", f"a~{end}-3.txt"]


def test_nothing_is_added_before_the_removal_of_another_of_its_name(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    (old,) = house.attach(store, "a.txt")
    house.work(1)
    house.files.detach(store, old)
    house.attach(store, "a.txt", "b.txt")
    removal = house.queue.next()
    assert removal is not None
    assert removal.kind == "remove"
    house.queue.postpone(removal)
    assert house.work(1) == [(store, "add", "b.txt")]
    assert house.queue.next() is None
    house.queue.done(removal)
    assert house.work(1) == [(store, "add", "a.txt")]


def test_a_deleted_file_cannot_be_attached_any_more(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    row = house.shelf.get(house.upload("a.txt"))
    # Somebody who attaches it has looked it up already.
    assert house.files.detach_everywhere(row.id) == []
    with pytest.raises(KeyError):
        house.files.attach(store, [(row, AttachFile(file_id=row.id))])
    house.shelf.forget(row.id)
    assert list((house.state.folder / "files").iterdir()) == []


def test_cancelling_lets_be_what_has_begun_and_nothing_else_begins(house: House) -> None:
    store = house.stores.create(CreateStore()).id
    rows = house.shelf.get_many([house.upload("a.txt"), house.upload("b.txt")])
    files = [(row, AttachFile(file_id=row.id)) for row in rows.values()]
    _, batch = house.files.attach(store, files, batch=True)
    assert batch is not None
    begun = house.queue.next()
    assert begun is not None
    assert house.queue.begin(begun) is not None
    house.queue.postpone(begun)
    chosen = house.queue.next()
    assert chosen is not None
    house.files.cancel(store, batch.id)
    # It was chosen and had not begun.
    assert house.queue.begin(chosen) is None
    assert house.files.get(store, begun.file).status == "in_progress"
    assert house.files.get(store, chosen.file).status == "cancelled"


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """No file can become larger than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_everything_as_it_was(house: House) -> None:
    known = house.upload("a.txt")
    path = house.shelf.uploads / "one"
    path.write_bytes(b"x")
    with full_disk(10), pytest.raises(sqlite3.OperationalError):
        house.shelf.add(path, "b.txt", "assistants", None)
    assert [file.name for file in (house.state.folder / "files").iterdir()] == [known]
    house.upload("c.txt")
    assert [name for (name,) in house.state.rows("SELECT filename FROM files ORDER BY id")] == ["a.txt", "c.txt"]
    # Nothing is left open: the next change begins.
    with house.state.change() as connection:
        assert connection.in_transaction


def test_a_commit_that_fails_is_taken_back(house: House) -> None:
    house.state.rows("PRAGMA foreign_keys = ON")
    with house.state.change() as connection:
        connection.execute("CREATE TABLE parent (id PRIMARY KEY)")
        connection.execute("CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), house.state.change() as connection:
        # Checked by COMMIT.
        connection.execute("INSERT INTO child VALUES (1)")
    house.upload("a.txt")
    assert house.state.rows("SELECT count(*) FROM child") == [(0,)]
