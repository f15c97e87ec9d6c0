"""Reading the text of cut-out lines with a PP-OCR recognition model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ragkit.extras import require
from ragkit.indexers.readers.ocr_languages import classes_of
from ragkit.indexers.readers.onnx_head import PartedModel, linear_model

# The model's input height, and its input columns for each step of its output.
_HEIGHT = 48
_COLUMNS_PER_STEP = 8
# The time to read a line is that of its columns. Letters of print need 11 of them: with 10 there are 0.3 errors
# in a hundred letters, with 8 there are 17. Some row through a line of print meets 1.45 strokes a letter, give or
# take a twelfth, so these columns a stroke are 12.2 a letter.
_COLUMNS_PER_STROKE = 8.4
_LEAST_COLUMNS_PER_LETTER = 10.5
# However that count errs, a line gets columns for these shares of the width that its height asks for. Chinese
# characters have strokes enough for the larger one.
_NARROWEST, _WIDEST = 0.6, 0.78
# The lowest score (before softmax) that the best letter of a read line should have at every step. Steps of Latin
# print have 14 to 25, those that show a Chinese character -15 to 10 when only Latin letters may be chosen.
_LOWEST_SCORE = 12.0


@dataclass(frozen=True, slots=True)
class LineText:
    """The text of one line.

    score: mean probability of its letters. steps: int64 (letters,), the step at which each was found.
    num_steps: how many steps the line's width is, with a fraction.
    """

    text: str
    score: float
    steps: NDArray[np.int64]
    num_steps: float


class LineReader:
    """Connectionist temporal classification (Graves et al. 2006) over the letters of some languages.

    "auto" tries Latin letters first, 1,700 of the model's 18,710. The output layer works on each step by itself,
    so a line with a step whose best Latin letter scores low gets the whole layer, and reads as if it
    had had it from the beginning.
    """

    def __init__(self, model: PartedModel, languages: Sequence[str] | Literal["auto"], num_threads: int) -> None:
        """Raises MissingExtraError where onnxruntime is not installed."""
        self._session = _session(model.body)
        self._input = self._session.get_inputs()[0].name
        self._num_threads = num_threads
        characters = ["", *model.metadata["character"].splitlines(), " "]
        names = np.array(characters)
        classes = classes_of(() if languages == "auto" else languages, characters)
        self._first = Head(model.weight[:, classes], model.bias[classes], names[classes])
        self._whole = Head(model.weight, model.bias, names) if languages == "auto" else None

    def read(self, images: Sequence[NDArray[np.uint8]]) -> list[LineText]:
        """images: (height, width, 3) each, blue first; longest lines are begun first."""
        order = sorted(range(len(images)), key=lambda i: -_width_at(images[i], _WIDEST))
        with ThreadPoolExecutor(self._num_threads) as pool:
            read = dict(zip(order, pool.map(lambda i: self._read_line(images[i]), order), strict=True))
        return [read[index] for index in range(len(images))]

    def _read_line(self, image: NDArray[np.uint8]) -> LineText:
        widest = _width_at(image, _WIDEST)
        width = min(widest, max(_width_at(image, _NARROWEST), round(_COLUMNS_PER_STROKE * num_strokes(image))))
        line = self._read_at(image, width)
        too_narrow = width < min(widest, _LEAST_COLUMNS_PER_LETTER * len(line.text))
        return self._read_at(image, widest) if too_narrow else line

    def _read_at(self, image: NDArray[np.uint8], width: int) -> LineText:
        pixels = _as_input(image, width)
        features = self._session.run(None, {self._input: pixels})[0][0]  # float32 (steps, dim)
        num_steps = width / _COLUMNS_PER_STEP
        scores = self._first.scores(features)
        if self._whole is not None and scores.max(axis=1).min() < _LOWEST_SCORE:
            return self._whole.decode(self._whole.scores(features), num_steps)
        return self._first.decode(scores, num_steps)


class Head:
    """A linear output layer.

    Not in numpy: the threads of its matrix product, asked from several lines at once, wait for one another.
    """

    def __init__(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32], characters: NDArray[np.str_]
    ) -> None:
        """weight: (dim, classes), bias: (classes,), characters: (classes,), the first one for no letter."""
        self._characters = characters
        self._session = _session(linear_model(weight, bias))

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self._session.run(None, {"features": features})[0]
        return scores

    def decode(self, scores: NDArray[np.float32], num_steps: float) -> LineText:
        """The best letter of each step, repetitions and steps without a letter left out."""
        best = scores.argmax(axis=1)
        is_letter = best != 0
        is_letter[1:] &= best[1:] != best[:-1]
        steps = np.flatnonzero(is_letter)
        chosen = scores[steps]
        odds = np.exp(chosen - chosen.max(axis=1, keepdims=True, initial=-np.inf)).sum(axis=1)
        score = float((1 / odds).mean()) if len(steps) else 0.0
        return LineText("".join(self._characters[best[steps]]), score, steps, num_steps)


def _session(model: bytes) -> Any:
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # Each line is one thread's: lines are too small to be worth sharing, which took twice the processor time.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def num_strokes(image: NDArray[np.uint8]) -> int:
    """How many dark runs the row with most of them has, of which about 1.45 are a letter.

    Dark is what Otsu's threshold (1979) parts from light.
    """
    cv2 = require("cv2")
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    _, dark = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    return int((dark[:, 1:] > dark[:, :-1]).sum(axis=1).max())


def _width_at(image: NDArray[np.uint8], share: float) -> int:
    height, width = int(image.shape[0]), int(image.shape[1])
    return max(_COLUMNS_PER_STEP, round(_HEIGHT * width / height * share))


def _as_input(image: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
    """float32 (1, 3, 48, columns) from -1 to 1, the line's `width` columns and grey at the right."""
    cv2 = require("cv2")
    columns = -(-width // 32) * 32
    pixels = np.zeros((1, 3, _HEIGHT, columns), np.float32)
    resized = cv2.resize(image, (width, _HEIGHT)).astype(np.float32)
    pixels[0, :, :, :width] = (resized / 127.5 - 1).transpose(2, 0, 1)
    return pixels
