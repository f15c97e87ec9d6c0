"""Text of an image by RapidOCR, whose models come with its package."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ragkit.devices import num_cores
from ragkit.extras import require
from ragkit.indexers.readers.ocr_lines import LineReader, LineText
from ragkit.indexers.readers.onnx_head import part_model
from ragkit.indexers.readers.onnx_weights import without_tiny_weights
from ragkit.indexers.readers.page_ocr import is_unspaced
from ragkit.indexers.readers.reading import as_document_error
from ragkit.indexers.readers.reading_order import reading_rows
from ragkit.records import Box, TextLine

if TYPE_CHECKING:
    from PIL.Image import Image

# A line's mean probability of its letters: of print 0.98 and more, of print upside down below 0.75.
_SURE = 0.9
# RapidOCR takes a line this many times as high as wide to run down, and reads it turned by 90 degrees.
_DOWNWARD_ASPECT = 1.5

Words = list[tuple[str, NDArray[np.float64]]]


class TurnedText(str):
    """A line's text, read with the line turned by 180 degrees.

    The text itself says so, as RapidOCR leaves out lines between its recognizer and its result.
    """


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line's words in reading order, each with its box (left, top, right, bottom) in pixels.

    upside_down: whether the line runs from right to left on the image.
    """

    words: Words
    upside_down: bool


class RapidOcrEngine:
    """PP-OCR models on the CPU: Latin letters, Chinese, Japanese and Greek, in print.

    Beyond RapidOCR's defaults: the longer side counts for finding text, at 1,120 pixels, without the
    dilation that grows lines of two columns together; lines are read by `ocr_lines`.
    """

    def __init__(
        self, languages: Sequence[str] | Literal["auto"] = "auto", num_threads: int | None = None
    ) -> None:
        """languages: as `documents.ocr_languages`. num_threads: None for as many as cores.

        Raises MissingExtraError where RapidOCR or onnxruntime is not installed.
        """
        require("onnxruntime")
        rapidocr = require("rapidocr")
        threads = num_threads or num_cores()
        settings = {
            # The level of RapidOCR's own logger, which writes to stderr and hands nothing on.
            "Global.log_level": "critical",
            "Global.return_word_box": True,
            "Global.use_cls": False,  # _Recognizer finds lines that are upside down
            "Det.limit_type": "max",
            "Det.limit_side_len": 1120,
            "Det.use_dilation": False,
            "Rec.rec_batch_num": 1,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        self._engine = rapidocr.RapidOCR(params=settings)
        self._engine.text_det = _detector(self._engine.cfg, threads)
        parted = part_model(_packaged_model(self._engine.cfg, "Rec"))
        if parted is not None:  # else RapidOCR reads the lines with the model as it is
            self._engine.text_rec = _Recognizer(LineReader(parted, languages, threads))
        self._lock = threading.Lock()  # its steps keep what they work on in attributes

    def read(self, image: Image) -> list[TextLine]:
        """Lines in reading order; what stands in one row of a column is one line.

        On a page that is upside down the order is that of the page turned; boxes stand on the image as given.

        Raises:
            DocumentError: the models fail on this image.
        """
        pixels = _padded(np.asarray(image.convert("RGB"))[:, :, ::-1])  # (height, width, 3), blue first
        with self._lock, as_document_error("OCR failed"):
            result: Any = self._engine(np.ascontiguousarray(pixels))
            lines = _lines_of(result)
        size = np.array([image.width, image.height] * 2, np.float64)
        rows = page_rows(lines)
        return [_text_line([word for index in row for word in lines[index].words], size) for row in rows]


class _Recognizer:
    """A LineReader in the place of RapidOCR's recognizer of lines.

    RapidOCR turns each line that a classifier takes to be upside down, and reads nonsense where that errs
    (long lines of small print). Here a line that reads badly is read both ways, and the likelier reading is taken.
    """

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._library = require("rapidocr.ch_ppocr_rec.main")

    def __call__(self, given: Any) -> Any:
        images: list[NDArray[np.uint8]] = list(given.img)
        lines = self._reader.read(images)
        doubted = [i for i, line in enumerate(lines) if line.score < _SURE]
        turned = self._reader.read([np.ascontiguousarray(images[i][::-1, ::-1]) for i in doubted])
        for index, other in zip(doubted, turned, strict=True):
            if other.score > lines[index].score:
                lines[index] = replace(other, text=TurnedText(other.text))
        words = tuple(self._word_info(line) for line in lines)
        texts, scores = [line.text for line in lines], [line.score for line in lines]
        return self._library.TextRecOutput(images, tuple(texts), tuple(scores), words)

    def _word_info(self, line: LineText) -> Any:
        is_letter = np.zeros(int(line.num_steps) + 64, bool)
        is_letter[line.steps] = True
        words = self._library.CTCLabelDecode.get_word_info(line.text, is_letter)
        words.line_txt_len = line.num_steps
        words.confs = [line.score] * len(line.text)  # of each letter, as RapidOCR pairs them with boxes
        return words


def _detector(settings: Any, num_threads: int) -> Any:
    """RapidOCR's detector of lines, over its model without denormal weights: a quarter of the processor time."""
    ort, omegaconf = require("onnxruntime"), require("omegaconf")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    # Threads that spin after their work hold up those that read the lines.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = without_tiny_weights(_packaged_model(settings, "Det"))
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with_session = omegaconf.OmegaConf.create({**settings.Det, "session": session}, flags={"allow_objects": True})
    return require("rapidocr.ch_ppocr_det").TextDetector(with_session)


def _packaged_model(settings: Any, part: str) -> bytes:
    """The model that RapidOCR would use for a part ("Det", "Rec"), from its package."""
    engine = require("rapidocr.inference_engine.base")
    wanted = engine.FileInfo(**{name: settings[part][name] for name in engine.FileInfo.__annotations__})
    name = str(engine.InferSession.get_model_url(wanted)["model_dir"]).rpartition("/")[2]
    return Path(str(settings.Global.model_root_dir), name).read_bytes()


def _padded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A narrow image with white at the right or below: RapidOCR fails on those that it scales to nothing."""
    height, width = pixels.shape[:2]
    least = max(64, max(height, width) // 20)
    below, right = max(0, least - height), max(0, least - width)
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), constant_values=255)


def _lines_of(result: Any) -> list[PlacedLine]:
    if result.txts is None or result.boxes is None:
        return []
    word_results = result.word_results
    # RapidOCR leaves lines without words out of this list; then it is not known whose the others are.
    per_line: Sequence[Any] = word_results if len(word_results) == len(result.txts) else [()] * len(result.txts)
    lines = [
        placed_line(text, np.asarray(polygon, np.float64), parts)
        for text, polygon, parts in zip(result.txts, result.boxes, per_line, strict=True)
    ]
    return [line for line in lines if line.words]


def page_rows(lines: Sequence[PlacedLine]) -> list[list[int]]:
    """Indices of the lines in reading order, those of one row together; of a page upside down as if turned."""
    boxes = np.array([_union([box for _, box in line.words]) for line in lines]).reshape(-1, 4)
    num_letters = np.array([sum(len(word) for word, _ in line.words) for line in lines], np.int64)
    upside_down = np.array([line.upside_down for line in lines], bool)
    if 2 * num_letters[upside_down].sum() > num_letters.sum():
        boxes = -boxes[:, [2, 3, 0, 1]]  # turned by 180 degrees about the origin
    return reading_rows(boxes)


def placed_line(text: str, polygon: NDArray[np.float64], parts: Sequence[Any]) -> PlacedLine:
    """A line with its words where they stand on the image, from what `words_of_line` takes."""
    words = words_of_line(text, polygon, parts)
    if not isinstance(text, TurnedText):
        return PlacedLine(words, upside_down=False)
    # Its words were placed along the turned line, which begins where the polygon ends.
    left, top, right, bottom = _bounds(polygon)
    ends = np.array([left + right, top + bottom] * 2)
    width, height = np.linalg.norm(polygon[[1, 3]] - polygon[0], axis=1)
    upside_down = bool(height < _DOWNWARD_ASPECT * width)
    return PlacedLine([(word, ends - box[[2, 3, 0, 1]]) for word, box in words], upside_down)


def words_of_line(text: str, polygon: NDArray[np.float64], parts: Sequence[Any]) -> Words:
    """Words of a line of text: with the boxes that the model gives them, else with shares of the line.

    polygon: (4, 2), the line's corners. parts: (word, score, corners) for each word the model knows of;
    for scripts without spaces each character is one.
    """
    known = [(str(word), _bounds(np.asarray(corners, np.float64))) for word, _, corners in parts]
    names = [word for word, _ in known]
    unspaced = "".join(names) == "".join(text.split()) and any(map(is_unspaced, text))
    if names != text.split() and not unspaced:
        return _shares_of_line(text, _bounds(polygon))
    words = [(word, box) for word, box in known if word.strip()]
    if words:
        # The model places a letter by its middle: the first and the last one reach to the line's ends.
        words[0][1][0] = min(words[0][1][0], polygon[:, 0].min())
        words[-1][1][2] = max(words[-1][1][2], polygon[:, 0].max())
    return words


def _shares_of_line(text: str, line: NDArray[np.float64]) -> Words:
    """Words at the share of the line's longer side that their letters have of all letters."""
    along = 0 if line[2] - line[0] >= line[3] - line[1] else 1
    length = line[along + 2] - line[along]
    words: Words = []
    position = 0
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        box = line.copy()
        box[along], box[along + 2] = line[along] + np.array([start, position]) / len(text) * length
        words.append((word, box))
    return words


def _bounds(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _union(boxes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    table = np.stack(boxes)
    return np.concatenate([table[:, :2].min(axis=0), table[:, 2:].max(axis=0)])


def _text_line(words: Words, size: NDArray[np.float64]) -> TextLine:
    shares = [np.clip(box / size, 0, 1).tolist() for _, box in words]
    return TextLine(tuple(word for word, _ in words), tuple(Box(*share) for share in shares))
