"""`ragkit eval speed --pages`, over real stages and a tiny VisRAG-Ret."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.config import parse_config
from ragkit.errors import DataError
from ragkit.evaluations.speed.page_speed import measure_page_speed
from tests.indexers.models.tiny_visrag import copy_checkpoint
from tests.pdf_maker import make_pdf


def test_stages_and_pipeline_work_on_the_same_pages(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    for name in ("a", "b"):
        make_pdf(tmp_path / "docs" / f"{name}.pdf", ["First page", "Second page"])
    config = parse_config(
        {
            "page_embedder": {"name": str(copy_checkpoint(tmp_path / "model"))},
            "pages": {"dpi": 36, "render_processes": 1},
        }
    )
    report = measure_page_speed(config, tmp_path / "docs", num_pages=3)
    assert report.num_pages == 2  # the second document would make four
    assert min(report.render_s, report.embed_s, report.preprocess_s, report.model_s, report.pipeline_s) > 0
    assert report.preprocess_s + report.model_s <= 1.1 * report.embed_s
    assert report.facts["render_processes"] == 1


def test_a_folder_without_pdfs_is_named(tmp_path: Path):
    (tmp_path / "note.md").write_text("Nothing to draw.")
    with pytest.raises(DataError, match=r"there is no PDF in"):
        measure_page_speed(parse_config({"page_embedder": {"name": "x"}}), tmp_path, 10)
