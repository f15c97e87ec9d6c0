"""Merging rankings of pages by several routes (text, pictures) into one.

A route's scores are comparable within one query only, so they are standardised query by query: z-scores
over the pages that the route gives. A page that only other routes give has no score here, and stands
where this route's list was cut: at its lowest score. Adding up weighted z-scores is CombSUM with another
scaling (Fox and Shaw, "Combination of multiple searches", TREC-2, 1994).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ragkit.protocols import Retriever
from ragkit.records import Filter, FloatArray, Hit, KeyArray, Passage, Query
from ragkit.retrievers.fusion import Ranking, ScoreArray
from ragkit.retrievers.hybrid import Fusion
from ragkit.retrievers.levels import best_per

Page = tuple[str, int]
"""A document's id and the number of one of its pages."""

_FLAT = 1e-12


def standardise(scores: FloatArray | ScoreArray) -> tuple[ScoreArray, float]:
    """z-scores float64 (n,) of one route's scores, and the z-score of a page that it does not give.

    Scores that are all equal say only which pages were found: these are 0, and all others -1. A route
    that gives nothing says nothing: 0 for every page.

    Raises:
        ValueError: a score is not finite.
    """
    exact = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise ValueError("scores to be standardised must be finite")
    if len(exact) == 0:
        return exact, 0.0
    if np.ptp(exact) <= _FLAT * np.abs(exact).max():
        return np.zeros_like(exact), -1.0
    standard = (exact - exact.mean()) / exact.std()
    return standard, float(standard.min())


def standard_scores(rankings: Sequence[Ranking]) -> tuple[KeyArray, ScoreArray]:
    """All pages of the rankings, ascending keys int64 (n,), and their z-scores float64 (n, routes)."""
    keys = np.unique(np.concatenate([np.zeros(0, np.int64), *(found for found, _ in rankings)]))
    columns = np.zeros((len(keys), len(rankings)), np.float64)
    for column, (found, scores) in enumerate(rankings):
        if len(np.unique(found)) != len(found):
            raise ValueError("a ranking names the same page twice")
        standard, missing = standardise(scores)
        columns[:, column] = missing
        columns[np.searchsorted(keys, found), column] = standard
    return keys, columns


def standard_score_fusion(rankings: Sequence[Ranking], weights: Sequence[float]) -> tuple[KeyArray, ScoreArray]:
    """Weighted sum of z-scores; a ranking of weight 0 adds neither scores nor pages.

    Raises:
        ValueError: not one weight a ranking, a weight below 0, or a ranking that names a page twice.
    """
    if len(weights) != len(rankings):
        raise ValueError(f"{len(rankings)} rankings but {len(weights)} weights")
    if any(weight < 0 for weight in weights):
        raise ValueError(f"weights must not be negative: {list(weights)}")
    used = [(ranking, weight) for ranking, weight in zip(rankings, weights, strict=True) if weight > 0]
    keys, columns = standard_scores([ranking for ranking, _ in used])
    scores = columns @ np.array([weight for _, weight in used], np.float64)
    order = np.lexsort((keys, -scores))
    return keys[order], scores[order]


class PageFusionRetriever:
    """Merges the pages that several routes find; a hit is a page.

    A hit's passage is the page's best text passage where a route found one, else its picture.

    Args:
        routes: by name; where two found text of the same page, the first one's passage is shown.
        fuse: merges the routes' rankings, which come in the order of `routes`.
        depth: pages taken from each route. It does not grow with k, so that the first ten of a hundred
            hits are the ten hits; no more than `depth` pages of each route are ever found.
    """

    def __init__(self, routes: Mapping[str, Retriever], fuse: Fusion, depth: int) -> None:
        self._routes = list(routes.values())
        self._fuse = fuse
        self._depth = depth

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`; scores are the fusion's, and no page comes twice."""
        by_route = [first_pages(route, queries, self._depth, where) for route in self._routes]
        return [self._merge(found)[:k] for found in zip(*by_route, strict=True)]

    def _merge(self, by_route: Sequence[Sequence[Hit]]) -> list[Hit]:
        shown = _shown_passages(by_route)
        rankings = [_ranking(hits, shown) for hits in by_route]
        passages = {passage.key: passage for passage in shown.values()}
        keys, scores = self._fuse(rankings)
        depth = max((hit.feedback_depth for hits in by_route for hit in hits), default=0)
        return [
            Hit(float(score), passages[int(key)], feedback_depth=depth)
            for key, score in zip(keys, scores, strict=True)
        ]


def first_pages(
    route: Retriever, queries: Sequence[Query], depth: int, where: Filter | None = None
) -> list[list[Hit]]:
    """For each query the first `depth` pages of a route, each by its best passage.

    Passages are fetched until they make so many pages, or there are no more.
    """
    results: dict[int, list[Hit]] = {}
    waiting, fetch = list(range(len(queries))), 2 * depth
    while waiting:
        found = route.retrieve([queries[i] for i in waiting], fetch, where)
        results.update((i, best_per(hits, "page")[:depth]) for i, hits in zip(waiting, found, strict=True))
        full = [len(hits) >= fetch for hits in found]
        waiting = [i for i, more in zip(waiting, full, strict=True) if more and len(results[i]) < depth]
        fetch *= 4
    return [results[i] for i in range(len(queries))]


def page_of(hit: Hit) -> Page:
    """The page that a hit lies on."""
    return hit.passage.document, hit.passage.page


def _shown_passages(by_route: Sequence[Sequence[Hit]]) -> dict[Page, Passage]:
    """For each page the passage that stands for it; its key is the page's key in the fusion."""
    shown: dict[Page, Passage] = {}
    for hit in (hit for hits in by_route for hit in hits):
        known = shown.get(page_of(hit))
        if known is None or (known.image is not None and hit.passage.image is None):
            shown[page_of(hit)] = hit.passage
    return shown


def _ranking(hits: Sequence[Hit], shown: Mapping[Page, Passage]) -> Ranking:
    keys = np.array([shown[page_of(hit)].key for hit in hits], np.int64)
    return keys, np.array([hit.score for hit in hits], np.float64)
