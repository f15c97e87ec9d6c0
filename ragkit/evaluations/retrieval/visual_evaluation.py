"""Evaluation of collections of pictures: what `ragkit eval retrieval` runs over ViDoRe's data sets.

A corpus is made of files, from which it draws pictures anew when it is asked for one: what a table holds is
written out once, byte for byte, beside the corpora in the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.embedder_set import with_pages_decided
from ragkit.errors import ConfigError, DataError, DocumentError
from ragkit.eval.measures.ranking_metrics import DEFAULT_MEASURES, check_depth
from ragkit.eval.runs.retrieval import RetrievalReport, Search, report_run, run_queries
from ragkit.eval.sets.page_sets import PageScope
from ragkit.eval.sets.visual_sets import Picture, VisualSet, read_visual_set
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.page_evaluation import cached_pages
from ragkit.evaluations.retrieval.retrieval_run import finish_run, kept_run, note_index
from ragkit.files import atomic_write, cache_folder
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.readers.media_types import IMAGES, kind_by_content
from ragkit.records import FileRecord, Filter

_MOST_PICTURES = 1000


def evaluate_visual(
    data: Path,
    config: Config,
    split: str = "test",
    measures: Sequence[str] = DEFAULT_MEASURES,
    progress: Callable[[IndexProgress], None] | None = None,
    out: Path | None = None,
) -> RetrievalReport:
    """Index the pictures of a collection, each as a document of one page, rank them for its queries, measure.

    The corpus is kept in the cache and used again as long as pictures and indexing settings stay the same.

    Args:
        out: folder of a run, begun or gone on with.

    Raises:
        ConfigError: the settings read nothing of a picture.
        DataError: the collection is malformed, or a picture cannot be read.
    """
    check_depth(measures, _MOST_PICTURES)
    _check_reads_pictures(config)
    pictures = read_visual_set(data, split)
    started, fingerprint = time.perf_counter(), pictures.fingerprint()
    records = _files(pictures, cache_folder() / "eval" / f"{data.resolve().name}-pictures-{fingerprint[:16]}")
    facts: dict[str, str | int] = {"indexed": "pictures", "pictures": len(records)}
    with (
        Corpus.open(cached_pages(data, "pictures", fingerprint, config), config=config) as corpus,
        kept_run(out, pictures, config, corpus, facts) as kept,
    ):
        index_all(corpus, records, progress, "pictures")
        indexed = time.perf_counter()
        note_index(kept, indexed - started)
        run = run_queries(pictures.queries, picture_search(corpus), _MOST_PICTURES, kept=kept)
        seconds = {"index": indexed - started, "search": time.perf_counter() - indexed}
        report = report_run(pictures, run, measures, seconds, facts)
        return finish_run(kept, report)


def check_whole_set(scope: PageScope, corpus: Path | None) -> None:
    """Raises ConfigError where options are given that are of page-level collections of PDFs."""
    if scope != PageScope() or corpus is not None:
        raise ConfigError(
            "a collection of pictures is indexed and ranked as a whole: leave out --documents, --within, "
            "--max-pages-per-document, --documents-from, --evidence and --corpus"
        )


def _check_reads_pictures(config: Config) -> None:
    embed = with_pages_decided(config, Embedders()).pages.embed
    if embed == "text" and config.documents.ocr == "never":
        raise ConfigError(
            "pages.embed = 'text' with documents.ocr = 'never' reads nothing of a picture: set pages.embed = "
            "'image' and page_embedder.name, or documents.ocr = 'auto'"
        )


def _files(pictures: VisualSet, folder: Path) -> list[FileRecord]:
    """The pictures as files, those of tables written below the folder, one at a time."""
    records = []
    for number, picture in enumerate(pictures.pictures()):
        path = picture.path or _written(picture, folder / f"{number // 1000:04}" / f"{number:07}")
        records.append(FileRecord(picture.id, path.resolve(), f"{picture.id}{_suffix(path, picture)}"))
    return records


def _written(picture: Picture, path: Path) -> Path:
    """Files are written whole or not at all: one that is there is the picture."""
    if not path.is_file():
        with atomic_write(path) as file:
            file.write(picture.content)
    return path


def _suffix(path: Path, picture: Picture) -> str:
    """Of the kind that the content shows; a document that is no picture would be indexed as another kind."""
    try:
        kind = kind_by_content(path)
    except DocumentError as error:
        raise DataError(f"the picture {picture.id!r} cannot be read: {error}") from error
    if kind not in IMAGES:
        known = ", ".join(sorted(known.removeprefix("image/") for known in IMAGES))
        raise DataError(f"the picture {picture.id!r} is {kind or 'of no kind that is known'}, expected {known}")
    return "." + kind.removeprefix("image/")


def picture_search(corpus: Corpus, where: Filter | None = None) -> Search:
    """Pictures by their pages; of a file with several frames the best counts."""

    def search(queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        ranked: list[list[tuple[str, float]]] = []
        for hits in corpus.search_many(queries, k, level="page", where=where):
            best: dict[str, float] = {}
            for hit in hits:
                best.setdefault(hit.passage.document, hit.score)
            ranked.append(list(best.items()))
        return ranked

    return search
