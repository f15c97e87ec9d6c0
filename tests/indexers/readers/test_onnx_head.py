from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import rapidocr

from ragkit.indexers.readers.onnx_head import linear_model, part_model

MODELS = Path(rapidocr.__file__).parent / "models"
QUIET = ort.SessionOptions()
QUIET.log_severity_level = 4
QUIET.intra_op_num_threads = 1


def test_body_and_layer_together_are_the_model() -> None:
    model = next(MODELS.glob("*_rec_*.onnx")).read_bytes()
    parted = part_model(model)
    assert parted is not None
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 160)).astype(np.float32)
    whole = ort.InferenceSession(model, QUIET).run(None, {"x": pixels})[0]
    features = ort.InferenceSession(parted.body, QUIET).run(None, {"x": pixels})[0]
    scores = features @ parted.weight + parted.bias
    odds = np.exp(scores - scores.max(axis=2, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(axis=2, keepdims=True), whole, atol=1e-4)
    assert len(parted.metadata["character"].splitlines()) + 2 == len(parted.bias)


def test_a_model_that_ends_otherwise_is_not_parted() -> None:
    assert part_model(next(MODELS.glob("*_det_*.onnx")).read_bytes()) is None


def test_what_is_no_model() -> None:
    with pytest.raises(ValueError, match="wire type 7 at byte 0 of 3: not an ONNX model"):
        part_model(b"\xff\x00\x00")


def test_a_linear_layer_as_a_model() -> None:
    weight = np.array([[1, 2, 3], [10, 20, 30]], np.float32)
    session = ort.InferenceSession(linear_model(weight, np.array([0.5, 0, -1], np.float32)), QUIET)
    scores = session.run(None, {"features": np.array([[1, 1], [2, 0]], np.float32)})[0]
    assert scores.tolist() == [[11.5, 22, 32], [2.5, 4, 5]]
