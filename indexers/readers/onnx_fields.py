"""Protocol buffers' wire format, as far as models in ONNX need it: for changing one without the onnx package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Wire types (https://protobuf.dev/programming-guides/encoding/).
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Field:
    number: int
    value: int | bytes
    raw: bytes  # with its tag and length, so that what is not changed is copied as it is

    @property
    def payload(self) -> bytes:
        return self.value if isinstance(self.value, bytes) else b""


def fields_of(message: bytes) -> list[Field]:
    """Raises ValueError where the message has a wire type that models in ONNX have not."""
    fields, at = [], 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind in (_FIXED32, _FIXED64):
            width = 4 if kind == _FIXED32 else 8
            value, at = int.from_bytes(message[at : at + width], "little"), at + width
        else:
            raise ValueError(f"wire type {kind} at byte {start} of {len(message)}: not an ONNX model")
        fields.append(Field(tag >> 3, value, message[start:at]))
    return fields


def payloads(fields: Sequence[Field], number: int) -> list[bytes]:
    return [field.payload for field in fields if field.number == number]


def bytes_field(number: int, payload: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(payload)) + payload


def varint_field(number: int, value: int) -> bytes:
    return _as_varint(number << 3 | _VARINT) + _as_varint(value)


def with_changed(message: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """The message with the payload of each field of this number changed, all else as it is."""
    return b"".join(
        bytes_field(number, change(field.payload)) if field.number == number else field.raw
        for field in fields_of(message)
    )


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, and where the next one begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _as_varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
