"""Evaluation of page-level collections: what `ragkit eval retrieval` runs over PDFs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.embedder_set import with_pages_decided
from ragkit.errors import ConfigError, DataError
from ragkit.eval.measures.ranking_metrics import DEFAULT_MEASURES, check_depth
from ragkit.eval.runs.retrieval import RetrievalReport, Search, report_run, run_queries, run_within
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.page_sets import PageScope, PageSet, page_id, read_page_set
from ragkit.eval.sets.trec import Run
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import document_search
from ragkit.evaluations.retrieval.retrieval_run import finish_run, kept_run, note_index
from ragkit.files import cache_folder
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.index_report import IndexProgress
from ragkit.records import Filter

_MOST_PAGES = 1000
# Settings of the machine: an index may be made with some of them and finished with others.
_NOT_OF_THE_INDEX = {"device", "batch_tokens", "batch_pages", "render_processes", "depth"}


def evaluate_pages(
    data: Path,
    config: Config,
    scope: PageScope | None = None,
    split: str = "test",
    measures: Sequence[str] = DEFAULT_MEASURES,
    progress: Callable[[IndexProgress], None] | None = None,
    folder: Path | None = None,
    out: Path | None = None,
) -> RetrievalReport:
    """Index the documents of a page-level collection, rank their pages for its judged queries, measure.

    The corpus is kept in the cache and used again as long as documents and indexing settings stay the
    same; one that was interrupted is gone on with.

    Args:
        folder: of the corpus, instead of one in the cache; "auto" then stands for the PDFs. What it holds
            besides is not searched.
        out: folder of a run, begun or gone on with.

    Raises:
        ConfigError: the settings ask for more of a page than its text, and the scope for corpus.jsonl.
        DataError: the collection is malformed, or a document cannot be read.
    """
    scope = scope or PageScope()
    check_depth(measures, _MOST_PAGES)
    source = "pdfs" if folder is not None and scope.documents == "auto" else source_of(scope, config)
    page_set = read_page_set(data, split, scope)
    started = time.perf_counter()
    facts = _facts(page_set, source, scope)
    with (
        Corpus.open(folder or page_corpus(page_set, source, config), config=config) as corpus,
        kept_run(
            out, page_set.collection, config, corpus, facts | {"pages": page_set.fingerprint(source)}
        ) as kept,
    ):
        index_pages(corpus, page_set, source, progress)
        indexed = time.perf_counter()
        note_index(kept, indexed - started)
        run = _run(corpus, page_set, source, scope, kept)
        seconds = {"index": indexed - started, "search": time.perf_counter() - indexed}
        report = report_run(page_set.collection, run, measures, seconds, facts)
        return finish_run(kept, report)


def needs_page_set(scope: PageScope, config: Config) -> bool:
    """Whether a scope or the settings ask for more than BEIR's files give."""
    return scope not in (PageScope(), PageScope(documents="corpus")) or source_of(scope, config) == "pdfs"


def check_own_queries(topics: Path | None, qrels: Path | None) -> None:
    """Raises ConfigError where queries or judgements are given besides those of a page-level collection."""
    if topics is not None or qrels is not None:
        raise ConfigError(
            "--topics and --qrels take the place of the queries of documents in corpus.jsonl; a set of pages or "
            "pictures is run with its own queries and judgements"
        )


def source_of(scope: PageScope, config: Config) -> Literal["corpus", "pdfs"]:
    """What is indexed, "auto" resolved.

    Raises:
        ConfigError: the settings read pictures of pages, and corpus.jsonl is asked for.
    """
    pictures = reads_pictures(config)
    if scope.documents == "corpus" and pictures:
        raise ConfigError(f"{pictures} reads pictures of pages, which corpus.jsonl has not: --documents pdfs")
    if scope.documents == "auto":
        return "pdfs" if pictures else "corpus"
    return scope.documents


def page_corpus(page_set: PageSet, source: Literal["corpus", "pdfs"], config: Config) -> Path:
    """A folder of the cache for these documents and the settings that decide what is indexed."""
    return cached_pages(page_set.collection.folder, source, page_set.fingerprint(source), config)


def cached_pages(data: Path, source: str, fingerprint: str, config: Config) -> Path:
    """A folder of the cache, named by the documents and by the settings that decide what is indexed."""
    tables = {
        name: {key: value for key, value in table.items() if key not in _NOT_OF_THE_INDEX}
        for name, table in config.model_dump(mode="json").items()
        if name in ("documents", "passages", "embedder", "pages", "page_embedder", "late_interaction")
    }
    # A corpus knows files by their path: a copy of the collection elsewhere would be other documents to it.
    folder = data.resolve()
    facts = f"{source}\n{folder}\n{fingerprint}\n{tables!r}"
    name = hashlib.sha256(facts.encode()).hexdigest()[:16]
    return cache_folder() / "eval" / f"{folder.name}-{source}-{name}"


def reads_pictures(config: Config) -> str:
    """The setting that makes pictures of pages be read, or ""."""
    if config.documents.ocr == "always":
        return "documents.ocr = 'always'"
    embed = with_pages_decided(config, Embedders()).pages.embed
    return f"pages.embed = {embed!r}" if embed in ("image", "both") else ""


def index_pages(
    corpus: Corpus,
    page_set: PageSet,
    source: Literal["corpus", "pdfs"],
    progress: Callable[[IndexProgress], None] | None,
) -> None:
    """Index the PDFs, or the pages' texts, of a page-level collection; what is indexed already stays.

    Raises:
        DataError: a document cannot be indexed.
    """
    index_all(corpus, page_set.files() if source == "pdfs" else page_set.records(), progress)


def _run(
    corpus: Corpus,
    page_set: PageSet,
    source: Literal["corpus", "pdfs"],
    scope: PageScope,
    kept: RunFolder | None,
) -> Run:
    search: Callable[[Corpus, Filter | None], Search]
    if source == "pdfs":
        ids = ids_of_files(corpus, page_set)
        document_of = {id_: document for document, id_ in ids.items()}
        search = partial(_page_search, document_of=document_of)
        names = {document: frozenset({id_}) for document, id_ in ids.items()}
    else:
        search = document_search
        names = {
            document: frozenset(page_id(document, number) for number in numbers)
            for document, numbers in page_set.pages.items()
        }
    queries = page_set.collection.queries
    if scope.within == "doc":

        def search_in(document: str) -> Search:
            return search(corpus, Filter(documents=names[document]))

        return run_within(queries, page_set.document_of, search_in, _MOST_PAGES, kept=kept)
    everything = frozenset().union(*names.values())
    has_others = {document.id for document in corpus.documents()} - everything
    where = Filter(documents=everything) if has_others else None
    return run_queries(queries, search(corpus, where), _MOST_PAGES, kept=kept)


def ids_of_files(corpus: Corpus, page_set: PageSet) -> dict[str, str]:
    """What the corpus calls the document of each PDF of the collection.

    Raises:
        DataError: it has none that came from this file.
    """
    by_source = {
        Path(document.source).resolve(): document.id for document in corpus.documents() if document.source
    }
    files = {path.stem: path.resolve() for path in page_set.files()}
    missing = [str(path) for path in files.values() if path not in by_source]
    if missing:
        raise DataError(f"{len(missing)} files of the collection are not in {corpus.path}: {missing[0]}")
    return {document: by_source[path] for document, path in files.items()}


def _page_search(corpus: Corpus, where: Filter | None, document_of: Mapping[str, str]) -> Search:
    """Pages of the PDFs, by the ids of the collection."""

    def search(queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        found = corpus.search_many(queries, k, level="page", where=where)
        return [
            [(page_id(document_of[hit.passage.document], hit.passage.page), hit.score) for hit in hits]
            for hits in found
        ]

    return search


def _facts(page_set: PageSet, source: str, scope: PageScope) -> dict[str, str | int]:
    """What the report says about its scope."""
    left_out = {f"queries_{reason}_left_out": count for reason, count in page_set.left_out.items() if count}
    return {
        "indexed": source,
        "ranked_within": scope.within,
        "documents": len(page_set.pages),
        "pages": sum(map(len, page_set.pages.values())),
        "judged_pages": len({p for grades in page_set.collection.qrels.values() for p in grades}),
        **left_out,
    }
