"""The bundled documents: made by their script, small, and each question answered on one page alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "ragkit" / "samples"
QUESTIONS: list[dict[str, Any]] = json.loads((SAMPLES / "questions.json").read_text("utf-8"))
ANSWERABLE = [question for question in QUESTIONS if question["document"] is not None]
NUM_PAGES = {
    "annual-report-2025.pdf": 4,
    "calibration-note.md": 1,
    "flow-charts-2025.pdf": 1,
    "loan-form-0417.png": 1,
    "parish-letter-2025.pdf": 1,
}
# A thumbnail's grey levels may differ by this much on average where other versions of the libraries drew it.
MAX_MEAN_DIFFERENCE = 2.0


def make(folder: Path) -> dict[str, bytes]:
    script = SAMPLES / "make_samples.py"
    subprocess.run([sys.executable, script, folder], check=True, cwd=folder.parent, timeout=120)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pages(path: Path) -> list[tuple[str, Image.Image]]:
    """Text layer and picture of each page; a picture file is a page without text."""
    if path.suffix == ".png":
        return [("", Image.open(path).convert("RGB"))]
    with pypdfium2.PdfDocument(path) as document:
        return [
            (page.get_textpage().get_text_range(), page.render(scale=150 / 72).to_pil().convert("RGB"))
            for page in document
        ]


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((200, 200), Image.Resampling.BOX), np.float64)


@pytest.fixture(scope="module")
def page_texts(samples: Path) -> dict[tuple[str, int], str]:
    """What can be read on every page: the text layer, and the words that OCR finds in pictures."""
    from rapidocr import RapidOCR

    # One thread: onnxruntime's threads wait busily, which takes minutes where other work shares the cores.
    one_thread = {"EngineConfig.onnxruntime.intra_op_num_threads": 1}
    read = RapidOCR(params={"Global.use_cls": False, "Global.log_level": "error", **one_thread})

    def words(image: Image.Image) -> str:
        # Legible at 105 dpi too, for a little more than half of the time.
        image = image.resize((image.width * 7 // 10, image.height * 7 // 10), Image.Resampling.BOX)
        return " ".join(read(np.asarray(image)[:, :, ::-1]).txts)

    ((_, letter),) = pages(samples / "parish-letter-2025.pdf")
    ((_, form),) = pages(samples / "loan-form-0417.png")
    ((chart_text, sheet),) = pages(samples / "flow-charts-2025.pdf")
    temperatures = sheet.crop((0, sheet.height // 2, sheet.width // 2, sheet.height))
    texts = {
        ("calibration-note.md", 1): (samples / "calibration-note.md").read_text("utf-8"),
        ("flow-charts-2025.pdf", 1): f"{chart_text} {words(temperatures)}",
        ("loan-form-0417.png", 1): words(form),
        ("parish-letter-2025.pdf", 1): words(letter),
    }
    for number, (text, _) in enumerate(pages(samples / "annual-report-2025.pdf"), 1):
        texts["annual-report-2025.pdf", number] = text
    return {place: " ".join(text.split()) for place, text in texts.items()}


def test_the_folder_holds_these_documents_and_little_data(samples: Path) -> None:
    assert {path.name for path in samples.iterdir()} == set(NUM_PAGES)
    assert sum(path.stat().st_size for path in samples.iterdir()) < 1_500_000


def test_the_script_makes_the_committed_documents(samples: Path, tmp_path: Path) -> None:
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    assert first == second
    assert set(first) == set(NUM_PAGES)
    # Not byte for byte: zlib, libjpeg and FreeType differ between machines.
    assert first["calibration-note.md"] == (samples / "calibration-note.md").read_bytes()
    for name in sorted(set(NUM_PAGES) - {"calibration-note.md"}):
        made, committed = pages(tmp_path / "first" / name), pages(samples / name)
        assert len(made) == len(committed) == NUM_PAGES[name]
        for (text, image), (committed_text, committed_image) in zip(made, committed, strict=True):
            assert text == committed_text
            assert image.size == committed_image.size
            difference = np.abs(thumbnail(image) - thumbnail(committed_image)).mean()
            assert difference < MAX_MEAN_DIFFERENCE


def test_letter_and_form_have_no_text_layer_and_the_report_has_one(samples: Path) -> None:
    assert [text for text, _ in pages(samples / "parish-letter-2025.pdf")] == [""]
    assert all(len(text) > 2000 for text, _ in pages(samples / "annual-report-2025.pdf"))


def test_questions_cover_every_document_and_kind() -> None:
    assert len(ANSWERABLE) >= 10
    assert {question["document"] for question in ANSWERABLE} == set(NUM_PAGES)
    kinds = {question["kind"] for question in QUESTIONS}
    assert kinds >= {"text", "table", "footnote", "chart", "picture", "scan", "form", "markdown"}
    assert [question["kind"] for question in QUESTIONS if question not in ANSWERABLE] == [
        "absent",
        "off-topic",
    ]
    # `ragkit demo` asks the first three.
    assert len({question["document"] for question in ANSWERABLE[:3]}) == 3
    assert QUESTIONS[:3] == ANSWERABLE[:3]


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["answer"])
def test_the_answer_stands_on_one_page_alone(
    question: dict[str, Any], page_texts: dict[tuple[str, int], str]
) -> None:
    found = [place for place, text in page_texts.items() if question["answer"].lower() in text.lower()]
    assert found == [(question["document"], question["page"])]


def test_the_temperatures_are_in_the_picture_alone(samples: Path) -> None:
    ((text, _),) = pages(samples / "flow-charts-2025.pdf")
    assert "3,870 t" in text
    assert "23.4" not in text
