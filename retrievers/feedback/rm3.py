"""RM3: the terms of a query mixed with those of the passages that it found.

Lavrenko and Croft, "Relevance based language models", SIGIR 2001 (the relevance model); Abdul-Jaleel et al.,
"UMass at TREC 2004: Novelty and HARD" (its mixture with the query).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ragkit.protocols import LexicalIndex
from ragkit.records import Hit, Query

Weights = dict[str, float]


def relevance_model(passages: Sequence[Mapping[str, int]], scores: Sequence[float]) -> Weights:
    """P(w|R): the sum over passages of P(w|passage), its share of the passage's terms, times the passage's weight.

    A passage's weight is its score's share of all scores; where none is above 0, all weigh the same. Passages
    without terms are passed over.

    Args:
        passages: how often each term occurs in each passage.
        scores: of retrieval, higher is better; those below 0 count as 0.
    """
    kept = [(counts, max(0.0, score)) for counts, score in zip(passages, scores, strict=True) if counts]
    total = sum(score for _, score in kept)
    model: Weights = {}
    for counts, score in kept:
        weight = score / total if total > 0 else 1 / len(kept)
        length = sum(counts.values())
        for term, count in counts.items():
            model[term] = model.get(term, 0.0) + weight * count / length
    return model


def likeliest(model: Mapping[str, float], count: int) -> Weights:
    """The terms of the highest probabilities, ties by term, scaled to a sum of 1."""
    best = sorted(model.items(), key=lambda item: (-item[1], item[0]))[:count]
    return normalised(dict(best))


def normalised(weights: Mapping[str, float]) -> Weights:
    """Scaled to a sum of 1; weights of 0 are left out."""
    total = sum(weights.values())
    return {term: weight / total for term, weight in weights.items() if weight > 0}


def mixed(own: Mapping[str, float], other: Mapping[str, float], share: float) -> Weights:
    """`share` times the first distribution plus the rest of the second; weights of 0 are left out."""
    terms = dict.fromkeys((*own, *other))
    weights = {term: share * own.get(term, 0.0) + (1 - share) * other.get(term, 0.0) for term in terms}
    return {term: weight for term, weight in weights.items() if weight > 0}


class Rm3Feedback:
    """A `Feedback` that revises the terms of queries.

    Args:
        index: says what the terms of a text are.
        depth: first hits whose terms are looked at.
        num_terms: terms taken from them.
        original_weight: share of the query's own terms, 0 to 1.
    """

    def __init__(self, index: LexicalIndex, depth: int, num_terms: int, original_weight: float) -> None:
        self._index = index
        self._depth = depth
        self._num_terms = num_terms
        self._original_weight = original_weight

    @property
    def num_hits(self) -> int:
        """As `Feedback.num_hits`."""
        return self._depth

    def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
        """As `Feedback.revise`; a query without terms of its own stays as it is, too."""
        return [self._revised(query, hits[: self._depth]) for query, hits in zip(queries, found, strict=True)]

    def _revised(self, query: Query, hits: Sequence[Hit]) -> Query:
        own = self._index.term_counts(query.text) if query.terms is None else dict(query.terms)
        counts = [self._index.term_counts(hit.passage.titled_text) for hit in hits]
        model = relevance_model(counts, [hit.score for hit in hits])
        if not own or not model:
            return query
        terms = mixed(normalised(own), likeliest(model, self._num_terms), self._original_weight)
        return replace(query, terms=tuple(terms.items()), feedback_depth=max(query.feedback_depth, len(hits)))
