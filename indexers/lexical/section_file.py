"""One file of several named arrays: written piece by piece, memory-mapped when it is opened."""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ragkit.errors import CorpusDamagedError

_MAGIC = b"ragkit\x00\x01"
_PREFIX = struct.Struct("<8sII")
_ALIGNMENT = 64

Layout = Mapping[str, tuple[DTypeLike, int]]


class SectionWriter:
    """Fills the sections of a file, each from its start.

    Args:
        facts: of JSON's types; read back by `open_sections`.
        layout: dtype and length of each array.
    """

    def __init__(self, file: BinaryIO, facts: Mapping[str, object], layout: Layout) -> None:
        self._file = file
        sections: dict[str, tuple[str, int, int]] = {}
        end = 0
        for name, (dtype, length) in layout.items():
            kind = np.dtype(dtype).newbyteorder("<")
            sections[name] = (kind.str, end, length)
            end += _padded(kind.itemsize * length)
        header = json.dumps({"facts": facts, "sections": sections, "num_bytes": end}).encode()
        start = _padded(_PREFIX.size + len(header))
        file.write(_PREFIX.pack(_MAGIC, len(header), zlib.crc32(header)) + header)
        file.truncate(start + end)
        self._dtypes = {name: np.dtype(dtype) for name, (dtype, _, _) in sections.items()}
        self._places = {name: start + offset for name, (_, offset, _) in sections.items()}

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Append to a section."""
        data = np.ascontiguousarray(values, self._dtypes[name])
        self._file.seek(self._places[name])
        self._file.write(data.view(np.uint8).data)
        self._places[name] += data.nbytes


def open_sections(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The facts, and read-only arrays that stay on the disk. Only the file's head is read.

    Raises:
        CorpusDamagedError: the file is truncated, too long, or its head was altered.
        FileNotFoundError: the file is gone.
    """
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise damaged(path, "it is empty") from error
    try:
        magic, length, checksum = _PREFIX.unpack_from(mapped)
    except struct.error as error:
        raise damaged(path, f"it has {len(mapped)} bytes") from error
    head = mapped[_PREFIX.size : _PREFIX.size + length]
    if magic != _MAGIC or zlib.crc32(head) != checksum:
        raise damaged(path, "its head was altered")
    header = json.loads(head)
    start = _padded(_PREFIX.size + length)
    if len(mapped) != start + header["num_bytes"]:
        raise damaged(path, f"it has {len(mapped)} bytes instead of {start + header['num_bytes']}")
    arrays = {
        name: np.frombuffer(mapped, dtype, length, start + offset) if length else np.zeros(0, dtype)
        for name, (dtype, offset, length) in header["sections"].items()
    }
    return header["facts"], arrays


def damaged(path: Path | str, reason: object) -> CorpusDamagedError:
    """The error for a file whose content makes no sense."""
    return CorpusDamagedError(f"{path} is damaged ({reason}); run ragkit verify")


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
