"""Parting a recognition model in ONNX from its output layer, which only then can be cut to fewer letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Numbers of the fields in onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 2, 8, 9
_NAME_OF_OUTPUT, _KEY, _VALUE = 1, 1, 2
_FLOAT32 = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class PartedModel:
    """A model that ended in softmax(features @ weight + bias).

    body: the model as ONNX, whose one output is now the features.
    weight: float32 (dim, classes). bias: float32 (classes,). metadata: the model's own key-value pairs.
    """

    body: bytes
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    value: int | bytes
    raw: bytes  # with its tag and length, so that what is not changed is copied as it is


def part_model(model: bytes) -> PartedModel | None:
    """The model without its last linear layer, and that layer; None where it does not end in one."""
    fields = list(_fields(model))
    graph = list(_fields(b"".join(_payload(field) for field in fields if field.number == _MODEL_GRAPH)))
    nodes = {_texts(node, _NODE_OUTPUT)[0]: node for node in _of(graph, _GRAPH_NODE)}
    tensors = {_texts(tensor, _TENSOR_NAME)[0]: tensor for tensor in _of(graph, _GRAPH_INITIALIZER)}
    outputs = [_texts(output, _NAME_OF_OUTPUT)[0] for output in _of(graph, _GRAPH_OUTPUT)]
    removed: set[bytes] = set()
    value, constants = outputs[0] if len(outputs) == 1 else "", []
    for operator, num_constants in (("Softmax", 0), ("Add", 1), ("MatMul", 1)):
        while value in nodes and _texts(nodes[value], _NODE_OPERATOR) == ["Identity"]:
            removed.add(nodes[value])
            value = _texts(nodes[value], _NODE_INPUT)[0]
        node = nodes.get(value)
        if node is None or _texts(node, _NODE_OPERATOR) != [operator]:
            return None
        value, *names = _texts(node, _NODE_INPUT)
        if len(names) != num_constants or not all(_is_float32(tensors.get(name)) for name in names):
            return None
        constants += [tensors[name] for name in names]
        removed.add(node)
    bias, weight = (np.frombuffer(_raw(tensor), "<f4").astype(np.float32) for tensor in constants)
    removed.update(constants)
    kept = [f.raw for f in graph if f.number != _GRAPH_OUTPUT and _payload(f) not in removed]
    body = [*kept, _bytes_field(_GRAPH_OUTPUT, _bytes_field(_NAME_OF_OUTPUT, value.encode()))]
    others = [f.raw for f in fields if f.number != _MODEL_GRAPH]
    whole = b"".join([*others, _bytes_field(_MODEL_GRAPH, b"".join(body))])
    return PartedModel(whole, weight.reshape(-1, len(bias)), bias, _metadata(fields))


def _metadata(fields: list[_Field]) -> dict[str, str]:
    pairs = [(_texts(entry, _KEY), _texts(entry, _VALUE)) for entry in _of(fields, _MODEL_METADATA)]
    return {key: value for (key,), (value,) in pairs}


def _is_float32(tensor: bytes | None) -> bool:
    if tensor is None:
        return False
    types = [field.value for field in _fields(tensor) if field.number == _TENSOR_TYPE]
    return types == [_FLOAT32] and bool(_raw(tensor))


def _raw(tensor: bytes) -> bytes:
    return b"".join(_payload(field) for field in _fields(tensor) if field.number == _TENSOR_RAW)


def _of(fields: list[_Field], number: int) -> list[bytes]:
    return [_payload(field) for field in fields if field.number == number]


def _texts(message: bytes, number: int) -> list[str]:
    return [_payload(field).decode() for field in _fields(message) if field.number == number]


def _payload(field: _Field) -> bytes:
    return field.value if isinstance(field.value, bytes) else b""


def _fields(message: bytes) -> Iterator[_Field]:
    """The fields of a protocol-buffers message, in its wire format."""
    at = 0
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
        yield _Field(tag >> 3, value, message[start:at])


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, and where the next one begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _bytes_field(number: int, payload: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(payload)) + payload


def _as_varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
