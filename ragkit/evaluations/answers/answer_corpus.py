"""The corpus that a set of questions is asked over, and how the set calls its documents."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.eval.sets.beir import BeirCollection
from ragkit.eval.sets.page_sets import PageScope, PageSet, page_id, parse_page_id
from ragkit.eval.sets.question_sets import QuestionSet
from ragkit.eval.sets.questions import Place, Question
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import cached_corpus
from ragkit.evaluations.retrieval.page_evaluation import ids_of_files, index_pages, page_corpus, source_of
from ragkit.indexers.index_report import IndexProgress
from ragkit.records import Filter

Progress = Callable[[IndexProgress], None]


@dataclass(frozen=True, slots=True)
class AskedCorpus:
    """A corpus in which all documents of a set of questions are indexed.

    ids_of: the corpus's documents by the set's names; place_of: the other way round, as `row_of` wants it.
    within: whether a question is asked over its own document. ours: what to ask over otherwise, where the corpus
    has other documents too. index_s: seconds that indexing took.
    """

    corpus: Corpus
    within: bool
    ids_of: Mapping[str, frozenset[str]]
    place_of: Mapping[str, Place] = field(default_factory=dict)
    ours: Filter | None = None
    index_s: float = 0.0

    def where(self, question: Question) -> Filter | None:
        """What the question is asked over; None stands for the whole corpus.

        Raises:
            DataError: it is to be asked over its document, and names none.
        """
        if not self.within:
            return self.ours
        if question.document is None:
            raise DataError(f"{question.origin}: the question names no document; ask over all: --within all")
        return Filter(documents=self.ids_of[question.document])


@contextmanager
def open_asked_corpus(
    asked: QuestionSet,
    config: Config,
    folder: Path | None,
    scope: PageScope,
    progress: Progress | None = None,
) -> Iterator[AskedCorpus]:
    """Index a set's documents as users' are, in `folder` or in the cache; a corpus of one's own is opened.

    Raises:
        ConfigError: the set has no documents of its own and no corpus is named.
        DataError: a document cannot be indexed, or gold places name documents that the corpus does not have.
    """
    documents = asked.documents
    if isinstance(documents, PageSet):
        source = "pdfs" if folder is not None and scope.documents == "auto" else source_of(scope, config)
        where = folder or page_corpus(documents, source, config)
    elif documents is not None:
        where = folder or cached_corpus(documents, config)
    elif folder is not None:
        where = folder
    else:
        raise ConfigError(f"{asked.path} has no documents of its own; name the corpus to ask: --corpus DIR")
    within = scope.within == "doc"
    with Corpus.open(where, config=config, create=documents is not None) as corpus:
        if isinstance(documents, PageSet):
            found = _pages(corpus, documents, source, within, progress)
        elif documents is not None:
            found = _texts(corpus, documents, within, progress)
        else:
            found = _own(corpus, within)
        _check_documents(asked, found)
        _check_pages(asked, found)
        yield found


def _pages(
    corpus: Corpus, documents: PageSet, source: Literal["corpus", "pdfs"], within: bool, progress: Progress | None
) -> AskedCorpus:
    started = time.perf_counter()
    index_pages(corpus, documents, source, progress)
    took = time.perf_counter() - started
    if source == "pdfs":
        ids = ids_of_files(corpus, documents)
        places = {id_: Place(name) for name, id_ in ids.items()}
        names = {name: frozenset({id_}) for name, id_ in ids.items()}
    else:
        names = {
            name: frozenset(page_id(name, number) for number in numbers)
            for name, numbers in documents.pages.items()
        }
        places = {id_: Place(*parse_page_id(id_)) for ids_ in names.values() for id_ in ids_}
    return AskedCorpus(corpus, within, names, places, _beside_others(corpus, names), took)


def _texts(corpus: Corpus, documents: BeirCollection, within: bool, progress: Progress | None) -> AskedCorpus:
    started = time.perf_counter()
    records = list(documents.records())
    index_all(corpus, records, progress)
    names = {record.id: frozenset({record.id}) for record in records}
    took = time.perf_counter() - started
    return AskedCorpus(corpus, within, names, ours=_beside_others(corpus, names), index_s=took)


def _own(corpus: Corpus, within: bool) -> AskedCorpus:
    return AskedCorpus(corpus, within, {one.id: frozenset({one.id}) for one in corpus.documents()})


def _beside_others(corpus: Corpus, ids_of: Mapping[str, frozenset[str]]) -> Filter | None:
    ours: frozenset[str] = frozenset().union(*ids_of.values())
    return Filter(documents=ours) if any(document.id not in ours for document in corpus.documents()) else None


def _check_documents(asked: QuestionSet, found: AskedCorpus) -> None:
    """A gold place under a name that the corpus does not have would count as never cited."""
    for question in asked.questions:
        named = {place.document for place in question.places}
        named |= set() if question.document is None else {question.document}
        unknown = sorted(name for name in named if name not in found.ids_of)
        if unknown:
            near = difflib.get_close_matches(unknown[0], found.ids_of, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{question.origin}: {found.corpus.path} has no document {unknown[0]!r}{hint}")


def _check_pages(asked: QuestionSet, found: AskedCorpus) -> None:
    """A gold page beyond the document's last one would count as never cited, too."""
    sizes = {one.id: one.num_pages for one in found.corpus.documents()}
    last_pages = {
        name: max(found.place_of.get(id_, Place(name)).page or sizes[id_] for id_ in ids)
        for name, ids in found.ids_of.items()
    }
    for question in asked.questions:
        for place in question.places:
            if place.page is not None and place.page > last_pages[place.document]:
                raise DataError(
                    f"{question.origin}: a gold place is page {place.page} of {place.document!r}, which has "
                    f"{last_pages[place.document]} page(s) in {found.corpus.path}; correct the page"
                )
