"""/v1/files by the stock client and over bare sockets."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.serve.stores.store_house import StoreServer, store_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("server") / "store", max_upload_mb=0.5) as running:
        yield running


def test_what_is_uploaded_comes_back(server: StoreServer) -> None:
    content = bytes(range(256)) * 700
    made = server.client.files.create(file=("Lagepläne 2020 (neu).pdf", content), purpose="user_data")
    assert (made.object, made.filename, made.bytes) == ("file", "Lagepläne 2020 (neu).pdf", 179_200)
    assert (made.purpose, made.status) == ("user_data", "processed")
    assert abs(made.created_at - time.time()) < 60
    assert server.client.files.retrieve(made.id) == made
    assert server.client.files.wait_for_processing(made.id, poll_interval=0.01) == made
    got = server.client.files.content(made.id)
    assert got.content == content
    assert got.response.headers["content-type"] == "application/octet-stream"
    assert got.response.headers["content-disposition"].startswith("attachment;")
    deleted = server.client.files.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "file")
    for call in (server.client.files.retrieve, server.client.files.content, server.client.files.delete):
        with pytest.raises(openai.NotFoundError, match="there is no file"):
            call(made.id)


def test_lists_are_paged_in_the_order_of_upload(server: StoreServer) -> None:
    ids = [server.client.files.create(file=(f"{n}.txt", b"x"), purpose="batch").id for n in range(7)]
    newest_first = ids[::-1]
    listed = server.client.files.list(purpose="batch", limit=3)
    assert [file.id for file in listed.data] == newest_first[:3]
    assert listed.has_more
    assert [file.id for file in listed] == newest_first
    assert [file.id for file in server.client.files.list(purpose="batch", order="asc", limit=2)] == ids
    after = server.client.files.list(purpose="batch", order="asc", after=ids[4])
    assert [file.id for file in after.data] == ids[5:]
    assert not after.has_more
    before = server.client.files.list(purpose="batch", order="asc", limit=2, extra_query={"before": ids[4]})
    assert [file.id for file in before.data] == ids[2:4]
    assert before.has_more
    assert [file.id for file in server.client.files.list(purpose="vision")] == []


def test_a_list_goes_on_behind_files_that_were_deleted_meanwhile(server: StoreServer) -> None:
    ids = [server.client.files.create(file=(f"{n}.txt", b"x"), purpose="fine-tune").id for n in range(9)]
    files = server.client.files
    deleted = [files.delete(file.id).id for file in files.list(purpose="fine-tune", limit=2)]
    assert deleted == ids[::-1]


def test_a_file_too_large_is_refused_and_leaves_nothing(server: StoreServer) -> None:
    for size in (500_001, 5_000_000):
        with pytest.raises(openai.APIStatusError, match=r"more than 0.5 MB \(\[serve\] max_upload_mb\)") as caught:
            server.upload("big.bin", b"x" * size)
        assert caught.value.status_code == 413
    assert list((server.folder / "uploads").iterdir()) == []
    assert server.client.files.retrieve(server.upload("fits.bin", b"x" * 500_000)).bytes == 500_000


def test_a_body_that_comes_in_chunks_is_limited_too(server: StoreServer) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"x" * 50_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    reply = httpx.post(f"{server.url}/v1/files", content=body(), headers=headers)
    assert reply.status_code == 413
    assert reply.json()["error"]["param"] == "file"
    assert list((server.folder / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("application/json", b"{}", "multipart/form-data with a boundary"),
        ("multipart/form-data", b"x", "multipart/form-data with a boundary"),
        ("multipart/form-data; boundary=b", b"", "in the middle"),
        ("multipart/form-data; boundary=b", b"nonsense", "no multipart"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", "there is no file"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
            "in the middle",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n',
            "purpose = ''; known: assistants",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n',
            "as the field 'file'",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\nx\r\n--b--\r\n',
            "one file is taken",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + b"x" * 20_000 + b"\r\n--b--\r\n",
            "more than 10000 bytes",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: " + b"x" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n",
            "header",
        ),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--b", "Boundary length 5000"),
    ],
)
def test_bodies_that_are_no_upload(server: StoreServer, content_type: str, body: bytes, reason: str) -> None:
    reply = httpx.post(f"{server.url}/v1/files", content=body, headers={"content-type": content_type})
    assert reply.status_code == 400
    assert reason in reply.json()["error"]["message"]
    assert list((server.folder / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Plan A.docx", "Plan A.docx"),
        ("..", "upload"),
        ("/", "upload"),
        ("line\nbreak\x07.txt", "line break .txt"),
        ('say "hi".txt', 'say "hi".txt'),
        ("文書 データ.pdf", "文書 データ.pdf"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
    ],
)
def test_names_are_names_and_never_paths(server: StoreServer, sent: str, kept: str) -> None:
    before = sorted(path.name for path in server.folder.iterdir())
    made = server.client.files.retrieve(server.upload(sent, b"x"))
    assert made.filename == kept
    assert (server.folder / "files" / made.id).read_bytes() == b"x"
    assert sorted(path.name for path in server.folder.iterdir()) == before


def test_expiry_is_checked_and_kept(server: StoreServer) -> None:
    made = server.client.files.create(
        file=("a.txt", b"x"), purpose="assistants", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == made.created_at + 3600
    for seconds in (3599, 2_592_001):
        with pytest.raises(openai.BadRequestError, match="from 3600 to 2592000"):
            server.client.files.create(
                file=("a.txt", b"x"),
                purpose="assistants",
                expires_after={"anchor": "created_at", "seconds": seconds},
            )


def test_a_file_that_has_expired_is_gone(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = server.client.files.create(
        file=("a.txt", b"x"), purpose="assistants", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    with server.stores.state.change() as connection:
        connection.execute("UPDATE files SET expires_at = ? WHERE id = ?", [int(time.time()), made.id])
    with pytest.raises(openai.NotFoundError):
        server.client.files.retrieve(made.id)
    assert made.id not in [file.id for file in server.client.files.list()]
    server.wait(lambda: not (server.folder / "files" / made.id).exists(), 10)


def test_all_files_together_are_limited(tmp_path: Path) -> None:
    with store_server(tmp_path / "store", store_max_mb=0.1) as server:
        first = server.upload("a.bin", b"x" * 60_000)
        with pytest.raises(openai.APIStatusError, match="more than 0.1 MB together") as caught:
            server.upload("b.bin", b"x" * 60_000)
        assert caught.value.status_code == 413
        server.client.files.delete(first)
        server.upload("b.bin", b"x" * 60_000)


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    with store_server(tmp_path / "store") as server:
        kept = server.upload("a.txt", b"kept")
    (tmp_path / "store/uploads/half").write_bytes(b"x")
    (tmp_path / "store/files/file-0123456789abcdef01234567").write_bytes(b"x")
    with store_server(tmp_path / "store") as server:
        assert [file.id for file in server.client.files.list()] == [kept]
        assert server.client.files.content(kept).content == b"kept"
        assert [path.name for path in (tmp_path / "store/files").iterdir()] == [kept]
        assert list((tmp_path / "store/uploads").iterdir()) == []


@pytest.mark.parametrize("cursor", ["nonsense", "file-", "file-xyz", "vs_0123456789abcdef01234567", "\0"])
def test_cursors_that_are_none(server: StoreServer, cursor: str) -> None:
    with pytest.raises(openai.BadRequestError, match="no id of a file"):
        server.client.files.list(after=cursor)


def test_a_full_disk_is_said_and_leaves_nothing(server: StoreServer) -> None:
    before = sorted((server.folder / "files").iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(openai.InternalServerError) as caught:
            server.upload("a.txt", b"x" * 400_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.status_code, caught.value.code) == (507, "disk_full")
    assert sorted((server.folder / "files").iterdir()) == before
    assert list((server.folder / "uploads").iterdir()) == []
    assert server.upload("a.txt", "room again")
