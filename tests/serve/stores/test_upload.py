"""Multipart bodies, however they are cut into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit.serve.stores.upload import Upload, UploadError

TYPE = "multipart/form-data; boundary=frontier"


def body_of(name: bytes, content: bytes, purpose: str = "assistants") -> bytes:
    head = b'--frontier\r\ncontent-disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
    field = (
        f'\r\n--frontier\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--frontier--\r\n'
    )
    return head + content + field.encode()


def read(folder: Path, body: bytes, cuts: list[int], room: int = 1 << 30) -> tuple[str, dict[str, str], bytes]:
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]

    async def pieces() -> AsyncIterator[bytes]:
        for start, end in pairwise(places):
            yield body[start:end]

    left = [room]

    def take(num_bytes: int) -> None:
        left[0] -= num_bytes
        if left[0] < 0:
            raise UploadError(413, "too large")

    with Upload(folder, TYPE, take) as upload:
        asyncio.run(upload.read(pieces()))
        assert upload.path is not None
        return upload.name, upload.fields, upload.path.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.lists(st.integers(0, 1000), max_size=12))
def test_the_pieces_do_not_matter(tmp_path: Path, content: bytes, cuts: list[int]) -> None:
    if b"--frontier" not in content:
        assert read(tmp_path, body_of(b"a.txt", content), cuts) == ("a.txt", {"purpose": "assistants"}, content)
    assert list(tmp_path.iterdir()) == []


def test_content_that_looks_like_the_boundary(tmp_path: Path) -> None:
    content = b"\r\n--frontie\r\n--\r\r\n-- --frontier\r\n" * 40
    for cut in range(0, 200, 7):
        assert read(tmp_path, body_of(b"a", content), [cut, cut + 1])[2] == content


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Ünïcode 文.pdf".encode(), "Ünïcode 文.pdf"),
        ("Müller.txt".encode("latin-1"), "Müller.txt"),
        (b"a%22b%0Ac%0D%07.txt", 'a"b c .txt'),
        (b"100%25.txt", "100%25.txt"),
        (b"", "upload"),
        (b"dir/../x\\y.txt", "y.txt"),
    ],
)
def test_names(tmp_path: Path, sent: bytes, name: str) -> None:
    assert read(tmp_path, body_of(sent, b"x"), [])[0] == name


def test_what_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    assert len(read(tmp_path, body_of(b"a", b"x" * 3_000_000), [1_000_000], room=3_000_000)[2]) == 3_000_000
    with pytest.raises(UploadError, match="too large"):
        read(tmp_path, body_of(b"a", b"x" * 3_000_001), [1_000_000, 2_000_000], room=3_000_000)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(tmp_path: Path, body: bytes) -> None:
    for raw in (body, b"--frontier\r\n" + body, b"--frontier\r\ncontent-disposition: form-data;" + body):
        with pytest.raises(UploadError):
            read(tmp_path, raw, [10])
    assert list(tmp_path.iterdir()) == []


def test_a_sender_who_falls_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.serve.stores.upload._SILENCE_S", 0.05)
    body = body_of(b"a.txt", b"content")

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, 60, 20):
            # Slow is not silent.
            await asyncio.sleep(0.02)
            yield body[start : start + 20]
        await asyncio.sleep(60)

    with (
        Upload(tmp_path, TYPE, lambda _: None) as upload,
        pytest.raises(UploadError, match="nothing came") as caught,
    ):
        asyncio.run(upload.read(pieces()))
    assert caught.value.status == 408
    assert list(tmp_path.iterdir()) == []
