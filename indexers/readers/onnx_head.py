"""Parting a recognition model in ONNX from its output layer, and that layer for fewer letters as a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.indexers.readers.onnx_fields import Field, bytes_field, fields_of, payloads, varint_field
from ragkit.indexers.readers.onnx_weights import GRAPH_INITIALIZER, MODEL_GRAPH, as_tensor, float32_weights

# Numbers of the fields in onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
_MODEL_VERSION, _MODEL_OPERATORS, _MODEL_METADATA = 1, 8, 14
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_NAME = 8
_NAME_OF_VALUE, _TYPE_OF_VALUE, _TENSOR_OF_TYPE, _ELEMENTS_OF_TENSOR = 1, 2, 1, 1
_OPERATORS_VERSION = 2
_KEY, _VALUE = 1, 2
_FLOAT32 = 1


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


def part_model(model: bytes) -> PartedModel | None:
    """The model without its last linear layer, and that layer; None where it does not end in one."""
    fields = fields_of(model)
    graph = fields_of(b"".join(payloads(fields, MODEL_GRAPH)))
    nodes = {_texts(node, _NODE_OUTPUT)[0]: node for node in payloads(graph, _GRAPH_NODE)}
    tensors = {_texts(tensor, _TENSOR_NAME)[0]: tensor for tensor in payloads(graph, GRAPH_INITIALIZER)}
    outputs = [_texts(output, _NAME_OF_VALUE)[0] for output in payloads(graph, _GRAPH_OUTPUT)]
    removed: set[bytes] = set()
    constants: list[NDArray[np.float32]] = []
    value = outputs[0] if len(outputs) == 1 else ""
    for operator, num_constants in (("Softmax", 0), ("Add", 1), ("MatMul", 1)):
        while value in nodes and _texts(nodes[value], _NODE_OPERATOR) == ["Identity"]:
            removed.add(nodes[value])
            value = _texts(nodes[value], _NODE_INPUT)[0]
        node = nodes.get(value)
        if node is None or _texts(node, _NODE_OPERATOR) != [operator]:
            return None
        value, *names = _texts(node, _NODE_INPUT)
        weights = [float32_weights(tensors[name]) for name in names if name in tensors]
        found = [array for array in weights if array is not None]
        if not len(names) == len(found) == num_constants:
            return None
        constants += found
        removed.update([node, *(tensors[name] for name in names)])
    bias, weight = constants
    kept = [f.raw for f in graph if f.number != _GRAPH_OUTPUT and f.payload not in removed]
    body = [*kept, bytes_field(_GRAPH_OUTPUT, bytes_field(_NAME_OF_VALUE, value.encode()))]
    others = [f.raw for f in fields if f.number != MODEL_GRAPH]
    whole = b"".join([*others, bytes_field(MODEL_GRAPH, b"".join(body))])
    return PartedModel(whole, weight.reshape(-1, len(bias)), bias, _metadata(fields))


def linear_model(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> bytes:
    """A model in ONNX from "features" (steps, dim) to features @ weight + bias.

    weight: float32 (dim, classes). bias: float32 (classes,).
    """
    inputs = [bytes_field(_NODE_INPUT, name) for name in (b"features", b"weight", b"bias")]
    node = [*inputs, bytes_field(_NODE_OUTPUT, b"scores"), bytes_field(_NODE_OPERATOR, b"Gemm")]
    tensor_type = bytes_field(_TENSOR_OF_TYPE, varint_field(_ELEMENTS_OF_TENSOR, _FLOAT32))
    features = bytes_field(_NAME_OF_VALUE, b"features") + bytes_field(_TYPE_OF_VALUE, tensor_type)
    graph = [
        bytes_field(_GRAPH_NODE, b"".join(node)),
        bytes_field(_GRAPH_NAME, b"linear"),
        *(bytes_field(GRAPH_INITIALIZER, as_tensor(n, w)) for n, w in (("weight", weight), ("bias", bias))),
        bytes_field(_GRAPH_INPUT, features),
        bytes_field(_GRAPH_OUTPUT, bytes_field(_NAME_OF_VALUE, b"scores")),
    ]
    operators = bytes_field(_MODEL_OPERATORS, varint_field(_OPERATORS_VERSION, 13))
    return varint_field(_MODEL_VERSION, 8) + operators + bytes_field(MODEL_GRAPH, b"".join(graph))


def _metadata(fields: Sequence[Field]) -> dict[str, str]:
    pairs = [(_texts(entry, _KEY), _texts(entry, _VALUE)) for entry in payloads(fields, _MODEL_METADATA)]
    return {key: value for (key,), (value,) in pairs}


def _texts(message: bytes, number: int) -> list[str]:
    return [payload.decode() for payload in payloads(fields_of(message), number)]
