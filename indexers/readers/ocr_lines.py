"""Reading the text of cut-out lines with a PP-OCR recognition model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ragkit.extras import require
from ragkit.indexers.readers.ocr_languages import classes_of
from ragkit.indexers.readers.onnx_head import PartedModel

# The model's input height, and its input columns for each step of its output.
_HEIGHT = 48
_COLUMNS_PER_STEP = 8
# Lines are this much narrower than their height asks for: the time falls with the width, and letters of print
# stay apart. At 0.7 it began to lose words of small print.
_SQUEEZE = 0.78
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
        ort = require("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        # Each line is one thread's: lines are too small to be worth sharing, which took twice the processor time.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(model.body, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._num_threads = num_threads
        characters = ["", *model.metadata["character"].splitlines(), " "]
        everything = Head(model.weight, model.bias, np.array(characters))
        self._first = everything.restricted_to(classes_of(() if languages == "auto" else languages, characters))
        self._whole = everything if languages == "auto" else None

    def read(self, images: Sequence[NDArray[np.uint8]]) -> list[LineText]:
        """images: (height, width, 3) each, blue first; longest lines are begun first."""
        order = sorted(range(len(images)), key=lambda i: -_input_width(images[i]))
        with ThreadPoolExecutor(self._num_threads) as pool:
            read = dict(zip(order, pool.map(lambda i: self._read_line(images[i]), order), strict=True))
        return [read[index] for index in range(len(images))]

    def _read_line(self, image: NDArray[np.uint8]) -> LineText:
        pixels, width = _as_input(image)
        features = self._session.run(None, {self._input: pixels})[0][0]  # float32 (steps, dim)
        num_steps = width / _COLUMNS_PER_STEP
        scores = self._first.scores(features)
        if self._whole is not None and scores.max(axis=1).min() < _LOWEST_SCORE:
            return self._whole.decode(self._whole.scores(features), num_steps)
        return self._first.decode(scores, num_steps)


@dataclass(frozen=True, slots=True)
class Head:
    """A linear output layer.

    weight: (dim, classes), bias: (classes,), characters: (classes,), the first one for no letter."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    characters: NDArray[np.str_]

    def restricted_to(self, classes: NDArray[np.int64]) -> Head:
        return Head(np.ascontiguousarray(self.weight[:, classes]), self.bias[classes], self.characters[classes])

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = features @ self.weight + self.bias
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
        return LineText("".join(self.characters[best[steps]]), score, steps, num_steps)


def _input_width(image: NDArray[np.uint8]) -> int:
    height, width = int(image.shape[0]), int(image.shape[1])
    return max(_COLUMNS_PER_STEP, round(_HEIGHT * width / height * _SQUEEZE))


def _as_input(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], int]:
    """float32 (1, 3, 48, columns) from -1 to 1, grey at the right, and how many columns the line takes."""
    cv2 = require("cv2")
    width = _input_width(image)
    columns = -(-width // 32) * 32
    pixels = np.zeros((1, 3, _HEIGHT, columns), np.float32)
    resized = cv2.resize(image, (width, _HEIGHT)).astype(np.float32)
    pixels[0, :, :, :width] = (resized / 127.5 - 1).transpose(2, 0, 1)
    return pixels, width
