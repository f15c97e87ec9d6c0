"""Reading a dense page against RapidOCR with its own settings, in one run on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ragkit.config import Config
from ragkit.evaluations.speed.ocr_evaluation import measure_ocr
from ragkit.indexers.readers.ocr import RapidOcrEngine
from ragkit.indexers.readers.render import PdfiumRenderer


def fastest_s(work: Callable[[], object], repeats: int = 3) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@pytest.mark.slow
def test_a_dense_page_takes_less_than_half_of_rapidocr(samples: Path) -> None:
    from rapidocr import RapidOCR

    path = samples / "annual-report-2025.pdf"
    image = PdfiumRenderer().render(path, 2, 150)
    ours = RapidOcrEngine()
    bare = RapidOCR(params={"Global.log_level": "critical", "Global.return_word_box": True})
    pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
    assert fastest_s(lambda: ours.read(image)) < 0.5 * fastest_s(lambda: bare(pixels))
    recall = measure_ocr(path, Config(), [2]).recall
    assert recall is not None
    assert recall >= 0.97
