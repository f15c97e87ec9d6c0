from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import rapidocr

from ragkit.indexers.readers.onnx_fields import fields_of, payloads
from ragkit.indexers.readers.onnx_weights import as_tensor, float32_weights, without_tiny_weights

MODELS = Path(rapidocr.__file__).parent / "models"
INT64 = b"\x10\x07"  # field 2, a varint: 7


def model_of(tensor: bytes) -> bytes:
    """Field 7 (graph) with a name (2) and the tensor as its initializer (5)."""
    graph = b"\x12\x01g" + b"\x2a" + bytes([len(tensor)]) + tensor
    return b"\x08\x08" + b"\x3a" + bytes([len(graph)]) + graph


def test_tiny_weights_become_zero() -> None:
    weights = np.array([[1, 1e-21, -1e-19], [-1e-40, 0, 1e-20]], np.float32)
    kept = np.array([[1, 0, -1e-19], [0, 0, 1e-20]], np.float32)
    assert without_tiny_weights(model_of(as_tensor("w", weights))) == model_of(as_tensor("w", kept))


def test_tensors_of_other_types_stay() -> None:
    tensor = INT64 + b"\x4a\x08" + np.array([1], "<i8").tobytes()  # whose bytes would be a tiny float32
    assert float32_weights(tensor) is None
    assert without_tiny_weights(model_of(tensor)) == model_of(tensor)


def test_tensor_and_its_weights() -> None:
    tensor = as_tensor("name", np.array([[1, -2]], np.float32))
    assert [field.value for field in fields_of(tensor)][:4] == [1, 2, 1, b"name"]
    assert payloads(fields_of(tensor), 9) == [np.array([1, -2], "<f4").tobytes()]
    np.testing.assert_array_equal(float32_weights(tensor), [1, -2])


def test_the_detector_finds_the_same_without_them() -> None:
    model = next(MODELS.glob("*_det_*.onnx")).read_bytes()
    lighter = without_tiny_weights(model)
    assert len(lighter) == len(model)
    assert lighter != model
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 96, 160)).astype(np.float32)
    found = [ort.InferenceSession(m, options).run(None, {"x": pixels})[0] for m in (model, lighter)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
