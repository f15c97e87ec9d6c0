"""How well an answer's citations agree with gold places: pages, or whole documents where no pages are known.

Precision and recall over the set of cited places, each counted once however often it is cited. Gold places are
what somebody noted down: a citation of any other place counts as wrong, though that place may say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ragkit.eval.sets.questions import Place


@dataclass(frozen=True, slots=True)
class CitationCounts:
    """num_right: places that were cited and are gold. Counts of several questions may be added up."""

    num_cited: int = 0
    num_right: int = 0
    num_gold: int = 0

    @property
    def precision(self) -> float | None:
        """None where nothing was cited."""
        return self.num_right / self.num_cited if self.num_cited else None

    @property
    def recall(self) -> float | None:
        """None without gold places; 0.0 where there are some and nothing was cited."""
        return self.num_right / self.num_gold if self.num_gold else None

    def __add__(self, other: CitationCounts) -> CitationCounts:
        return CitationCounts(
            self.num_cited + other.num_cited, self.num_right + other.num_right, self.num_gold + other.num_gold
        )


def count_citations(cited: Iterable[Place], gold: Collection[Place]) -> CitationCounts:
    """Compare cited pages with gold places. Without gold places all counts are 0: the question says nothing.

    A gold place without a page is a document: any page of it is right, and citing several counts once.
    """
    if not gold:
        return CitationCounts()
    whole = {place.document for place in gold if place.page is None}
    places = {Place(place.document) if place.document in whole else place for place in cited}
    wanted = {Place(place.document) if place.document in whole else place for place in gold}
    return CitationCounts(len(places), len(places & wanted), len(wanted))
