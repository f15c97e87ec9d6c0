"""What a responses request searches: the corpus that is its model, or the vector stores that its tool names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ragkit.errors import CorpusError, FilterError
from ragkit.filter_json import filter_from_json
from ragkit.protocols import Answerer, ServedCorpus
from ragkit.records import (
    AskRequest,
    Document,
    Filter,
    Found,
    Hit,
    KeyArray,
    Page,
    PageImage,
    Passage,
    PassageKind,
)
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts, listed, several_stores
from ragkit.serve.chat.retrieval_fields import where_of
from ragkit.serve.responses.responses_request import FileSearch, ResponsesBody
from ragkit.serve.search_notes import search_notes
from ragkit.serve.stores.store_shelf import SeveralStoresError

_DEFAULT_RESULTS = 10
_SHIFT = 48


@dataclass(frozen=True, slots=True)
class Place:
    """A document and the corpus it is in."""

    corpus: ServedCorpus
    document: str


@dataclass(slots=True)
class SearchPlan:
    """Who answers, and from what.

    corpora: those searched. answerer: that of the corpus which the model names, else of the first searched.
    shown: documents that two of the corpora have, by the names under which the answer knows them.
    """

    corpora: list[ServedCorpus]
    answerer: Answerer
    model: str
    is_own: bool
    search: FileSearch | None = None
    shown: dict[str, Place] = field(default_factory=dict)

    def place(self, document: str) -> Place:
        """Where the document is that an answer calls so."""
        return self.shown.get(document) or Place(self.corpora[0], document)

    async def ask(self, request: AskRequest, body: ResponsesBody) -> AskRequest:
        """The request with what is to be searched; several corpora, or another's, are searched at once.

        Raises:
            FilterError: the filter can only be a mistake in every one of the corpora.
        """
        if self.search is None:
            fields = body.ragkit
            where = where_of(body.filters, fields)
            return replace(
                request,
                where=where,
                num_passages=fields.num_passages if fields else None,
                min_score=fields.min_score if fields else None,
            )
        filters = self.search.filters
        # Within the tool OpenAI's own form alone.
        where = None if filters is None else Filter(condition=filter_from_json(filters, "tools.filters"))
        ranking = self.search.ranking_options
        asked = replace(
            request,
            where=where,
            num_passages=self.search.max_num_results,
            min_score=ranking.score_threshold if ranking else None,
        )
        return asked if self.is_own else replace(asked, found=await self._search(asked))

    async def _search(self, request: AskRequest) -> Found:
        number = request.num_passages or _DEFAULT_RESULTS
        searches = [asyncio.to_thread(_hits, corpus, request, number) for corpus in self.corpora]
        found = await asyncio.gather(*searches)
        errors = [result for result in found if isinstance(result, FilterError)]
        if len(errors) == len(found):
            raise errors[0]
        lists = [[] if isinstance(result, FilterError) else result for result in found]
        merged = merge_by_rank(lists)[:number]
        self.shown = _shown(merged, self.corpora)
        names = {(place.corpus.name, place.document): name for name, place in self.shown.items()}
        hits = [
            replace(
                hit,
                passage=replace(
                    hit.passage,
                    key=hit.passage.key | which << _SHIFT,
                    document=names[self.corpora[which].name, hit.passage.document],
                ),
            )
            for which, hit in merged
        ]
        notes = await asyncio.to_thread(self._notes, request.question, lists)
        return Found(tuple(hits), UnionStore(tuple(self.corpora), self.shown), request.question, notes)

    def _notes(self, question: str, lists: Sequence[Sequence[Hit]]) -> tuple[str, ...]:
        """Which of the stores hold nothing."""
        listed = zip(self.corpora, lists, strict=True)
        return tuple(
            note
            for corpus, hits in listed
            for note in search_notes(question, hits, corpus.store, name=f"The vector store {corpus.name!r}")
        )


def plan_search(parts: ServerParts, body: ResponsesBody, search: FileSearch | None) -> SearchPlan:
    """Look up the corpora. Without file_search the model is the corpus; with it any name may stand there.

    Raises:
        HttpProblem: 404, there is no such corpus or vector store; 400, none is named.
    """
    names = parts.library.names()
    if search is None:
        if body.model is None and len(names) != 1:
            raise HttpProblem(400, f"model is missing; models here: {listed(names)}", param="model")
        corpus = parts.corpus(names[0] if body.model is None else body.model)
        return SearchPlan([corpus], corpus.answerer, body.model or names[0], is_own=True)
    corpora: list[ServedCorpus] = []
    for name in dict.fromkeys(search.vector_store_ids):
        corpus = _store(parts, name)
        if corpus.name not in [other.name for other in corpora]:
            corpora.append(corpus)
    try:
        answering = corpora[0] if body.model is None else parts.library.corpus(body.model)
    except KeyError:
        answering = corpora[0]
    is_own = len(corpora) == 1 and answering.name == corpora[0].name
    return SearchPlan(corpora, answering.answerer, body.model or answering.name, is_own, search)


def merge_by_rank(lists: Sequence[Sequence[Hit]]) -> list[tuple[int, Hit]]:
    """The best hit of each list, then the second of each, and so on, with the numbers of their lists.

    Scores of different corpora are on different scales (embedders, rerankers, rank fusion), so that their order
    says nothing across corpora.
    """
    longest = max(map(len, lists), default=0)
    return [(which, hits[rank]) for rank in range(longest) for which, hits in enumerate(lists) if rank < len(hits)]


@dataclass(frozen=True, slots=True)
class UnionStore:
    """A `PassageStore` of several corpora's documents, by the names under which an answer knows them."""

    corpora: tuple[ServedCorpus, ...]
    shown: Mapping[str, Place]

    def passages(self, keys: Sequence[int]) -> list[Passage]:
        names = {(place.corpus.name, place.document): name for name, place in self.shown.items()}
        found = []
        for key in keys:
            corpus = self.corpora[key >> _SHIFT]
            (passage,) = corpus.store.passages([key & (1 << _SHIFT) - 1])
            name = names.get((corpus.name, passage.document), passage.document)
            found.append(replace(passage, key=key, document=name))
        return found

    def keys(self, where: Filter | None = None, kind: PassageKind | None = None) -> KeyArray:
        import numpy as np

        parts = [corpus.store.keys(where, kind) | which << _SHIFT for which, corpus in enumerate(self.corpora)]
        return np.concatenate(parts)

    def documents(self) -> list[Document]:
        return [document for corpus in self.corpora for document in corpus.store.documents()]

    def page(self, document: str, number: int) -> Page:
        place = self._place(document)
        return place.corpus.store.page(place.document, number)

    def page_image(self, document: str, number: int) -> PageImage | None:
        place = self._place(document)
        return place.corpus.store.page_image(place.document, number)

    def _place(self, document: str) -> Place:
        try:
            return self.shown[document]
        except KeyError as error:
            raise CorpusError(f"document {document!r} is not among those found") from error


def _store(parts: ServerParts, name: str) -> ServedCorpus:
    try:
        return parts.library.corpus(name)
    except SeveralStoresError as error:
        raise several_stores(error, name, parts.library.names(), "tools") from error
    except KeyError as error:
        raise HttpProblem(
            404, f"there is no vector store {name!r:.120}", param="tools", code="not_found"
        ) from error


def _hits(corpus: ServedCorpus, request: AskRequest, number: int) -> list[Hit] | FilterError:
    """A store that lacks the attribute has nothing to find; only where all lack it the filter is wrong."""
    try:
        hits = corpus.search_many([request.question], number, where=request.where)[0]
    except FilterError as error:
        return error
    return hits if request.min_score is None else [hit for hit in hits if hit.score >= request.min_score]


def _shown(merged: Sequence[tuple[int, Hit]], corpora: Sequence[ServedCorpus]) -> dict[str, Place]:
    """A name for each document; where two corpora have one of the same id, the corpus stands before it."""
    places = list(dict.fromkeys((which, hit.passage.document) for which, hit in merged))
    number: dict[str, int] = {}
    for _, document in places:
        number[document] = number.get(document, 0) + 1
    shown: dict[str, Place] = {}
    for which, document in places:
        corpus = corpora[which]
        name = document if number[document] == 1 else f"{corpus.name}/{document}"
        while name in shown:
            name = f"{corpus.name}/{name}"
        shown[name] = Place(corpus, document)
    return shown
