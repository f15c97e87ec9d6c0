"""The weights of models in ONNX."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ragkit.indexers.readers.onnx_fields import bytes_field, fields_of, payloads, varint_field, with_changed

# Numbers of the fields in onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
MODEL_GRAPH, GRAPH_INITIALIZER = 7, 5
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_FLOAT32 = 1
# What such a weight adds is below the rounding of any sum that matters.
_TINY = 1e-20


def float32_weights(tensor: bytes) -> NDArray[np.float32] | None:
    """float32 (size,); None where the tensor is of another type, or keeps its numbers in another field."""
    fields = fields_of(tensor)
    raw = b"".join(payloads(fields, _TENSOR_RAW))
    is_float32 = [field.value for field in fields if field.number == _TENSOR_TYPE] == [_FLOAT32]
    return np.frombuffer(raw, "<f4").astype(np.float32) if is_float32 and raw else None


def without_tiny_weights(model: bytes) -> bytes:
    """The model with the weights below 1e-20 set to 0.

    Numbers below 1.2e-38 (denormal ones) cost a processor a hundred times as much as others. Weights that training
    let decay are such numbers, or make them of what they are multiplied by.
    """
    return with_changed(model, MODEL_GRAPH, lambda graph: with_changed(graph, GRAPH_INITIALIZER, _without_tiny))


def _without_tiny(tensor: bytes) -> bytes:
    weights = float32_weights(tensor)
    if weights is None:
        return tensor
    weights[np.abs(weights) < _TINY] = 0
    others = [field.raw for field in fields_of(tensor) if field.number != _TENSOR_RAW]
    return b"".join([*others, bytes_field(_TENSOR_RAW, weights.astype("<f4").tobytes())])


def as_tensor(name: str, weights: NDArray[np.float32]) -> bytes:
    shape = [varint_field(_TENSOR_SHAPE, size) for size in weights.shape]
    kind, label = varint_field(_TENSOR_TYPE, _FLOAT32), bytes_field(_TENSOR_NAME, name.encode())
    return b"".join([*shape, kind, label, bytes_field(_TENSOR_RAW, weights.astype("<f4").tobytes())])
