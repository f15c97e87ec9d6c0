"""`ragkit eval speed --pages`: documents drawn and embedded as pictures, in stages and as a whole."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ragkit.assemble import make_page_embedder
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.speed.page_speed import PageSpeedReport
from ragkit.eval.speed.timing import Fact, machine_facts
from ragkit.indexers.draw_pages import DrawnPage, DrawTask, PageDrawer, num_processes
from ragkit.indexers.page_images import Drawing
from ragkit.indexers.readers.find_files import find_files
from ragkit.indexers.readers.media_types import PDF, kind_by_content
from ragkit.indexers.readers.pdfium import PDFIUM_LOCK, open_pdf
from ragkit.protocols import Embedder


def measure_page_speed(config: Config, documents: Path, num_pages: int) -> PageSpeedReport:
    """Time rendering alone, embedding alone, and a whole indexing run over the same pages.

    The first PDFs below `documents` are taken that have `num_pages` together, at least one.

    Raises:
        DataError: there is no PDF.
        ConfigError: no page embedder is named, or it cannot be loaded.
    """
    files = _first_files(documents, num_pages)
    settings = config.model_copy(update={"pages": config.pages.model_copy(update={"embed": "image"})})
    embedder = make_page_embedder(settings)
    with tempfile.TemporaryDirectory() as folder:
        tasks = list(_tasks(settings, files, Path(folder) / "alone"))
        _embed(embedder, _drawn(settings, tasks[:2]))  # the first batch pays for what is loaded late
        started = time.perf_counter()
        drawn = _drawn(settings, tasks)
        render_s = time.perf_counter() - started
        before = _stages(embedder)
        started = time.perf_counter()
        _embed(embedder, drawn)
        embed_s = time.perf_counter() - started
        preprocess_s, model_s = (after - old for after, old in zip(_stages(embedder), before, strict=True))
        drawn.clear()
        with Corpus.open(Path(folder) / "corpus", config=settings, page_embedder=embedder) as corpus:
            started = time.perf_counter()
            report = corpus.add([path for path, _ in files])
            pipeline_s = time.perf_counter() - started
    if report.num_pages != len(tasks):
        raise DataError(
            f"{report.num_pages} of {len(tasks)} pages were indexed: {report.failed or report.warnings}"
        )
    facts = _facts(settings, embedder)
    return PageSpeedReport(len(tasks), render_s, embed_s, preprocess_s, model_s, pipeline_s, facts)


def _first_files(documents: Path, num_pages: int) -> list[tuple[Path, int]]:
    """PDFs with their numbers of pages."""
    files: list[tuple[Path, int]] = []
    for found in find_files([documents]).files:
        if kind_by_content(found.path) != PDF:
            continue
        with PDFIUM_LOCK, open_pdf(found.path, None) as document:
            count = len(document)
        if files and sum(pages for _, pages in files) + count > num_pages:
            break
        files.append((found.path, count))
    if not files:
        raise DataError(f"there is no PDF in {documents}")
    return files


def _tasks(config: Config, files: Sequence[tuple[Path, int]], keep_in: Path) -> Iterator[DrawTask]:
    drawing = Drawing(config.documents, config.pages.dpi)
    for path, count in files:
        for number in range(1, count + 1):
            yield DrawTask(path, PDF, number, drawing, config.pages, keep_in if config.pages.keep_pages else None)


def _drawn(config: Config, tasks: Sequence[DrawTask]) -> list[DrawnPage]:
    processes = num_processes(config.pages)
    with PageDrawer(processes, 2 * processes) as drawer:
        return [page for page in drawer.draw(tasks) if page is not None]


def _embed(embedder: Embedder, drawn: Sequence[DrawnPage]) -> None:
    size = getattr(embedder, "batch_pages", 8)
    passages = [_checked(page).passage() for page in drawn]
    for start in range(0, len(passages), size):
        embedder.embed_passages(passages[start : start + size])


def _checked(page: DrawnPage) -> DrawnPage:
    if page.picture is None:
        raise DataError(f"{page.task.path}, page {page.task.page} cannot be drawn: {page.problem}")
    return page


def _stages(embedder: Embedder) -> tuple[float, float]:
    seconds: dict[str, float] = getattr(embedder, "stage_seconds", {})
    return seconds.get("preprocess", 0.0), seconds.get("model", 0.0)


def _facts(config: Config, embedder: Embedder) -> dict[str, Fact]:
    placement = getattr(embedder, "placement", None)
    return {
        **machine_facts(),
        "render_processes": num_processes(config.pages),
        "dpi": config.pages.dpi,
        "model": Path(config.page_embedder.name).name,
        "device": "" if placement is None else placement.device,
        "dtype": "" if placement is None else placement.dtype,
    }
