"""Page-level collections: PDFs in ``pdfs/`` beside BEIR files whose documents are single pages.

A page's id is ``<document>#p<page>``, the document being the name of its file without ``.pdf``; a query
may name the document that it asks about in ``metadata.doc``.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ragkit.errors import DataError
from ragkit.eval.sets.beir import BeirCollection, read_beir, read_rows
from ragkit.eval.sets.trec import Qrels, numbered_lines
from ragkit.files import sha256_of
from ragkit.records import TextRecord

_PAGE_ID = re.compile(r"(?P<document>.+)#p(?P<page>[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class PageScope:
    """Which part of a page-level collection is searched, and how.

    documents: index "pdfs", or the pages' texts of "corpus" (corpus.jsonl); "auto" takes the PDFs where the
    settings read more of a page than its text layer.
    within: rank pages of "all" documents, or only of the query's own document ("doc").
    max_pages, only: leave out documents with more pages, or those not named, and the queries about them.
    evidence: judgements of "all" pages, or only of those without a text layer ("no-text").
    """

    documents: Literal["auto", "corpus", "pdfs"] = "auto"
    within: Literal["all", "doc"] = "all"
    max_pages: int | None = None
    only: frozenset[str] | None = None
    evidence: Literal["all", "no-text"] = "all"


@dataclass(frozen=True, slots=True)
class PageSet:
    """A page-level collection, or the part of it that a scope leaves.

    pages: by document, then page number, whether corpus.jsonl has text for the page.
    document_of: the document that each query asks about, where that is known.
    left_out: number of queries left out, by reason.
    """

    collection: BeirCollection
    pages: Mapping[str, Mapping[int, bool]]
    document_of: Mapping[str, str]
    left_out: Mapping[str, int]

    def files(self) -> list[Path]:
        """The PDFs, ordered by document.

        Raises:
            DataError: one is missing.
        """
        paths = [self.collection.folder / "pdfs" / f"{document}.pdf" for document in sorted(self.pages)]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(f"{len(missing)} of {len(paths)} documents have no file, {missing[0]} among them")
        return paths

    def records(self) -> Iterator[TextRecord]:
        """The pages' texts, in the order of corpus.jsonl."""
        for record in self.collection.records():
            if parse_page_id(record.id)[0] in self.pages:
                yield record

    def fingerprint(self, of: Literal["corpus", "pdfs"]) -> str:
        """Equal as long as an index of the PDFs, or of the pages' texts, remains valid."""
        if of == "pdfs":
            return "\n".join(f"{path.name} {sha256_of(path)}" for path in self.files())
        return "\n".join([self.collection.fingerprint(), *sorted(self.pages)])


def page_id(document: str, page: int) -> str:
    """The id of a page in a page-level collection."""
    return f"{document}#p{page}"


def parse_page_id(text: str) -> tuple[str, int]:
    """Document and page number of an id.

    Raises:
        DataError: it is not of the form ``<document>#p<page>``.
    """
    form = _PAGE_ID.fullmatch(text)
    if form is None:
        raise DataError(f"{text!r} is no page: ids of a page-level collection have the form <document>#p<page>")
    return form["document"], int(form["page"])


def read_page_set(folder: Path, split: str = "test", scope: PageScope | None = None) -> PageSet:
    """Read a page-level collection and keep the part that the scope names.

    Raises:
        DataError: a file is missing or malformed, an id is no page, a document that the scope names is
            unknown, or no query is left.
    """
    scope = scope or PageScope()
    collection = read_beir(folder, split)
    pages: dict[str, dict[int, bool]] = {}
    for record in collection.records():
        document, page = parse_page_id(record.id)
        pages.setdefault(document, {})[page] = bool(record.text.strip())
    unjudged = sum(1 for _ in read_rows(folder / "queries.jsonl")) - len(collection.queries)
    whole = PageSet(collection, pages, _documents_of(collection, pages), {"without_evidence": unjudged})
    part = _without_evidence_in_text(whole) if scope.evidence == "no-text" else whole
    part = _of_documents(part, _kept(pages, scope, folder))
    if not part.collection.queries:
        raise DataError(f"{folder}: no judged query is left of {len(collection.queries)}; widen the scope")
    if scope.within == "doc":
        _check_documents_known(part)
    return part


def read_names(path: Path) -> frozenset[str]:
    """Names of documents, one a line, with or without ``.pdf``.

    Raises:
        DataError: the file cannot be read.
    """
    return frozenset(line.strip().removesuffix(".pdf") for _, line in numbered_lines(path))


def _documents_of(collection: BeirCollection, pages: Mapping[str, object]) -> dict[str, str]:
    """By query: what metadata.doc says, else the one document that all its judged pages lie in."""
    found: dict[str, str] = {}
    for place, query, row in read_rows(collection.folder / "queries.jsonl"):
        judged = {parse_page_id(page)[0] for page in collection.qrels.get(query, ())}
        metadata = row.get("metadata")
        named = metadata.get("doc") if isinstance(metadata, dict) else None
        if named is not None and named not in pages:
            raise DataError(f"{place}: metadata.doc is {named!r}, which has no page in corpus.jsonl")
        if named is not None or len(judged) == 1:
            found[query] = named if named is not None else judged.pop()
    return {query: found[query] for query in collection.queries if query in found}


def _kept(pages: Mapping[str, Mapping[int, bool]], scope: PageScope, folder: Path) -> set[str]:
    unknown = sorted((scope.only or frozenset()) - pages.keys())
    if unknown:
        near = difflib.get_close_matches(unknown[0], pages, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{folder} has no document {unknown[0]!r}{hint}")
    most = scope.max_pages or max(map(len, pages.values()), default=0)
    return {
        document
        for document, numbers in pages.items()
        if len(numbers) <= most and (scope.only is None or document in scope.only)
    }


def _of_documents(page_set: PageSet, kept: set[str]) -> PageSet:
    """Without the other documents, the queries about them, and the queries with no evidence but in them."""
    qrels = {
        query: {page: grade for page, grade in grades.items() if parse_page_id(page)[0] in kept}
        for query, grades in page_set.collection.qrels.items()
        if page_set.document_of.get(query) in {None, *kept}
    }
    pages = {document: numbers for document, numbers in page_set.pages.items() if document in kept}
    return _with_judgements(replace(page_set, pages=pages), qrels, "about_other_documents")


def _without_evidence_in_text(page_set: PageSet) -> PageSet:
    def has_text(page: str) -> bool:
        document, number = parse_page_id(page)
        return page_set.pages.get(document, {}).get(number, False)

    qrels = {
        query: {page: grade for page, grade in grades.items() if not has_text(page)}
        for query, grades in page_set.collection.qrels.items()
    }
    return _with_judgements(page_set, qrels, "with_evidence_in_text")


def _with_judgements(page_set: PageSet, qrels: Qrels, reason: str) -> PageSet:
    """With these judgements; queries that have none of a relevant page are left out for this reason."""
    judged = {query: grades for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    old = page_set.collection
    queries = {query: text for query, text in old.queries.items() if query in judged}
    left_out = Counter(page_set.left_out)
    left_out[reason] += len(old.queries) - len(queries)
    return replace(
        page_set,
        collection=replace(old, queries=queries, qrels=judged),
        document_of={query: name for query, name in page_set.document_of.items() if query in queries},
        left_out=dict(left_out),
    )


def _check_documents_known(page_set: PageSet) -> None:
    unknown = [query for query in page_set.collection.queries if query not in page_set.document_of]
    if unknown:
        raise DataError(
            f"{page_set.collection.folder}: query {unknown[0]!r} names no document in metadata.doc and is judged "
            "in several; ranking within the query's document is not possible"
        )
