"""A file on its way in: written to the disk piece by piece, never held whole in memory."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from ragkit.extras import require
from ragkit.serve.stores.document_names import safe_name

# So much is gathered before it is written.
_PIECE_BYTES = 1 << 20
_LONGEST_FIELD = 10_000
_MOST_PARTS = 50
_MOST_HEADERS = 16_000
# Between two pieces of a body.
_SILENCE_S = 60.0
_ESCAPE = re.compile("%(22|[01][0-9A-F])")


class UploadError(Exception):
    """The body cannot be taken. status: of HTTP; param: the field that is wrong."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


@dataclass
class Upload:
    """A context manager: takes a multipart body and deletes what was written unless somebody took it over.

    room: called with the number of bytes that are about to be written; raises UploadError where they are too many.
    path: where the file lies, once `read` has returned. name: as the client called it, made safe.
    fields: the other fields of the body.
    """

    folder: Path
    content_type: str
    room: Callable[[int], None]
    name: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        self._file: BinaryIO | None = None
        self._pending: list[bytes] = []
        self._num_pending = 0
        self._headers: dict[bytes, bytes] = {}
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._field: str | None = None
        self._value = bytearray()
        self._num_parts = self._num_header_bytes = 0
        self._in_file = self._ended = False

    async def read(self, body: AsyncIterator[bytes]) -> None:
        """Read the whole body; the file is on the disk then, and forced to it.

        Raises:
            UploadError: it is no multipart body, has no file, or is too large.
        """
        library = require("python_multipart.multipart")
        try:
            parser = library.MultipartParser(self._boundary(library), self._callbacks())
            async for piece in _unbroken(body):
                parser.write(piece)
                if self._num_pending >= _PIECE_BYTES:
                    await asyncio.to_thread(self._write)
            parser.finalize()
        except require("python_multipart.exceptions").FormParserError as error:
            raise UploadError(400, f"the body is no multipart/form-data: {error}") from error
        if not self._ended:
            raise UploadError(400, "the body ends in the middle of a part; send it again")
        if self.path is None:
            raise UploadError(400, "there is no file: send it as the field 'file', with a filename", "file")
        await asyncio.to_thread(self._finish)

    def _boundary(self, library: Any) -> bytes:
        kind, options = library.parse_options_header(self.content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise UploadError(400, "send the file as multipart/form-data with a boundary")
        return bytes(options[b"boundary"])

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self._add_data(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._num_parts += 1
        if self._num_parts > _MOST_PARTS:
            raise UploadError(400, f"the body has more than {_MOST_PARTS} parts")
        self._headers, self._header, self._num_header_bytes = {}, (bytearray(), bytearray()), 0
        self._field, self._value, self._in_file = None, bytearray(), False

    def _add_header(self, which: int, data: bytes) -> None:
        self._num_header_bytes += len(data)
        if self._num_header_bytes > _MOST_HEADERS:
            raise UploadError(400, f"the headers of a part have more than {_MOST_HEADERS} bytes")
        self._header[which].extend(data)

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end_headers(self) -> None:
        parse = require("python_multipart.multipart").parse_options_header
        _, options = parse(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            self._field = name
            return
        if name != "file" or self.path is not None:
            raise UploadError(400, f"one file is taken, as the field 'file', and {name!r:.60} is another", name)
        self.name = safe_name(_filename(options[b"filename"]))
        self.path = self.folder / secrets.token_hex(16)
        self._file = self.path.open("xb")
        self._in_file = True

    def _add_data(self, data: bytes) -> None:
        if self._in_file:
            self.room(len(data))
            self._pending.append(data)
            self._num_pending += len(data)
            return
        self._value.extend(data)
        if len(self._value) > _LONGEST_FIELD:
            raise UploadError(400, f"the field {self._field!r:.60} has more than {_LONGEST_FIELD} bytes")

    def _end_part(self) -> None:
        if self._field is not None:
            self.fields[self._field] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True

    def _write(self) -> None:
        assert self._file is not None
        self._file.write(b"".join(self._pending))
        self._pending.clear()
        self._num_pending = 0

    def _finish(self) -> None:
        assert self._file is not None
        self._write()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self.path is not None:
            # It is gone from here where it was taken over.
            self.path.unlink(missing_ok=True)


async def _unbroken(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body's pieces. Raises UploadError where one is waited for too long."""
    while True:
        try:
            async with asyncio.timeout(_SILENCE_S):
                piece = await anext(body, None)
        except TimeoutError as error:
            raise UploadError(408, f"nothing came for {_SILENCE_S:g} s; send the file again") from error
        if piece is None:
            return
        yield piece


def _filename(raw: bytes) -> str:
    """As browsers and HTTP clients write it: UTF-8, with quotes and control characters as percent escapes."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("latin-1")
    return _ESCAPE.sub(lambda match: '"' if match[1] == "22" else " ", name)
