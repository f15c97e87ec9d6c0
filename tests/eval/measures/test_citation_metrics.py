"""Citations against gold places, counted by hand."""

from __future__ import annotations

from ragkit.eval.measures.citation_metrics import CitationCounts, count_citations
from ragkit.eval.sets.questions import Place


def test_pages_are_counted_once_and_must_be_of_the_right_document():
    cited = [Place("a", 1), Place("a", 1), Place("a", 2), Place("b", 3)]
    counts = count_citations(cited, {Place("a", 1), Place("b", 3), Place("b", 4)})
    assert counts == CitationCounts(num_cited=3, num_right=2, num_gold=3)
    assert (counts.precision, counts.recall) == (2 / 3, 2 / 3)


def test_a_gold_document_without_a_page_is_met_by_any_of_its_pages():
    counts = count_citations([Place("a", 1), Place("a", 7), Place("b", 1)], {Place("a")})
    assert counts == CitationCounts(num_cited=2, num_right=1, num_gold=1)


def test_nothing_cited_has_no_precision_and_recall_zero():
    counts = count_citations([], {Place("a", 1)})
    assert (counts.precision, counts.recall) == (None, 0.0)


def test_without_gold_places_a_citation_counts_for_nothing():
    counts = count_citations([Place("a", 1)], frozenset())
    assert counts == CitationCounts()
    assert (counts.precision, counts.recall) == (None, None)


def test_counts_add_up():
    assert CitationCounts(1, 1, 2) + CitationCounts(3, 0, 1) == CitationCounts(4, 1, 3)
