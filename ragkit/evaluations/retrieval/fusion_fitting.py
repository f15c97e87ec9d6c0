"""Fitting a corpus's page fusion on labelled questions, and keeping the weights: `ragkit train fusion`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.assemble import CorpusParts, make_routes
from ragkit.config import Config, RerankConfig
from ragkit.corpus import Corpus
from ragkit.errors import CorpusError, DataError
from ragkit.eval.sets.page_sets import PageSet, parse_page_id
from ragkit.eval.sets.trec import numbered_lines
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lock import writer_lock
from ragkit.protocols import Embedder, Retriever
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.fit_page_fusion import LabelledQuestion, fit_page_fusion
from ragkit.retrievers.page_fusion import first_pages, page_of
from ragkit.retrievers.page_fusion_weights import PageFusionWeights

SETTING = "page_fusion"

MakeRoutes = Callable[[Config, CorpusParts], Mapping[str, Retriever]]


@dataclass(frozen=True, slots=True)
class PageQuestion:
    """A question and the pages of one document that answer it."""

    question: str
    document: str
    pages: frozenset[int]


def fit_corpus_fusion(
    folder: Path,
    questions: Sequence[PageQuestion],
    config: Config | None = None,
    *,
    within_document: bool = False,
    embedder: Embedder | None = None,
    page_embedder: Embedder | None = None,
    make: MakeRoutes = make_routes,
) -> PageFusionWeights:
    """Run the questions along every route of a corpus and fit the weights of their fusion.

    Args:
        questions: documents by their id in the corpus, or by its file name without suffix.
        within_document: rank the pages of each question's own document, as the later searches will.
        embedder, page_embedder: as for `Corpus.open`.
        make: the routes by name; the default is what the corpus is searched by.

    Raises:
        CorpusError: the corpus has fewer than two routes.
        DataError: a question's document is not in the corpus, or there are too few documents.
    """
    settings = (config or Config()).model_copy(update={"rerank": RerankConfig()})
    recorders: list[_Recorder] = []

    def record(parts: CorpusParts) -> _Recorder:
        recorders.append(_Recorder(make(corpus.config, parts)))
        return recorders[-1]

    with Corpus.open(
        folder,
        config=settings,
        embedder=embedder,
        page_embedder=page_embedder,
        retriever=record,
        create=False,
    ) as corpus:
        depth = corpus.config.retrieval.depth
        named = _with_ids(questions, [document.id for document in corpus.documents()])
        labelled: list[LabelledQuestion] = []
        for group in _groups(named, within_document):
            where = Filter(documents=frozenset({group[0].document})) if within_document else None
            corpus.search_many([question.question for question in group], depth, level="passage", where=where)
            labelled += recorders[-1].labelled(group)
    return fit_page_fusion(labelled, depth)


def store_page_fusion(folder: Path, weights: PageFusionWeights | None) -> None:
    """Keep weights in a corpus, whose searches use them from then on; None takes them out.

    Raises:
        CorpusLockedError: another process is writing to the corpus.
    """
    with writer_lock(folder):
        catalogue = Catalogue(folder)
        try:
            settings = {name: value for name, value in catalogue.settings.items() if name != SETTING}
            if weights is not None:
                settings[SETTING] = weights.to_json()
            with catalogue.transaction():
                catalogue.set_settings(settings)
        finally:
            catalogue.close()


def stored_page_fusion(settings: Mapping[str, Any]) -> PageFusionWeights | None:
    """The weights among a corpus's settings, None where there are none."""
    raw = settings.get(SETTING)
    return None if raw is None else PageFusionWeights.from_json(raw)


def read_questions(path: Path) -> list[PageQuestion]:
    """Read a JSON Lines file of question, document and pages (numbers from 1).

    Raises:
        DataError: a line is malformed, or names no page.
    """
    questions = []
    for number, line in numbered_lines(path):
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error})") from error
        questions.append(_question(row, place))
    return questions


def questions_of(page_set: PageSet) -> list[PageQuestion]:
    """The judged queries of a page-level collection whose evidence lies in one document."""
    return [
        PageQuestion(
            text,
            page_set.document_of[query],
            frozenset(
                parse_page_id(page)[1] for page, grade in page_set.collection.qrels[query].items() if grade > 0
            ),
        )
        for query, text in page_set.collection.queries.items()
        if query in page_set.document_of
    ]


class _Recorder:
    """A retriever that keeps what each route found for the last queries, and finds nothing itself."""

    def __init__(self, routes: Mapping[str, Retriever]) -> None:
        if len(routes) < 2:
            raise CorpusError(
                f"this corpus is searched by {', '.join(routes) or 'nothing'} alone; page fusion needs texts and "
                "pictures: index it with --pages both"
            )
        self._routes = routes
        self._found: dict[str, list[list[Hit]]] = {}

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Keep the first k pages of each route; gives no hits."""
        self._found = {name: first_pages(route, queries, k, where) for name, route in self._routes.items()}
        return [[] for _ in queries]

    def labelled(self, questions: Sequence[PageQuestion]) -> Iterable[LabelledQuestion]:
        """The last queries, which these questions were, with their answers."""
        for i, question in enumerate(questions):
            scores = {route: {page_of(hit): hit.score for hit in found[i]} for route, found in self._found.items()}
            relevant = frozenset((question.document, page) for page in question.pages)
            yield LabelledQuestion(question.document, scores, relevant)


def _groups(questions: Sequence[PageQuestion], by_document: bool) -> list[list[PageQuestion]]:
    groups: dict[str, list[PageQuestion]] = {}
    for question in questions:
        groups.setdefault(question.document if by_document else "", []).append(question)
    return list(groups.values())


def _with_ids(questions: Sequence[PageQuestion], ids: Sequence[str]) -> list[PageQuestion]:
    """The questions with their documents' ids in the corpus."""
    by_stem: dict[str, list[str]] = {}
    for id_ in ids:
        by_stem.setdefault(id_.rpartition("/")[2].rpartition(".")[0], []).append(id_)
    known = set(ids)
    return [
        question
        if question.document in known
        else PageQuestion(question.question, _id_of(question.document, by_stem), question.pages)
        for question in questions
    ]


def _id_of(name: str, by_stem: Mapping[str, Sequence[str]]) -> str:
    found = by_stem.get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"document {name!r} may be any of {', '.join(found)}; give its id")
    near = difflib.get_close_matches(name, by_stem, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise DataError(f"a question is about document {name!r}, which is not in the corpus{hint}")


def _question(row: Any, place: str) -> PageQuestion:
    if not isinstance(row, dict):
        raise DataError(f"{place}: {type(row).__name__}, expected an object with question, document and pages")
    question, document, pages = (row.get(name) for name in ("question", "document", "pages"))
    if not isinstance(question, str) or not isinstance(document, str):
        raise DataError(f"{place}: question is {question!r} and document {document!r}, expected texts")
    if not isinstance(pages, list) or not pages or not all(type(page) is int and page > 0 for page in pages):
        raise DataError(f"{place}: pages is {pages!r}, expected a list of page numbers from 1, not empty")
    return PageQuestion(question, document, frozenset(pages))
