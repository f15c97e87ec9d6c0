"""Which of the hits are worth showing, and a record of those that are not shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ragkit.config import GenerationConfig
from ragkit.records import DroppedHit, Hit, Source
from ragkit.serve.prompting.choice import behind_gap, disagreed_on
from ragkit.serve.prompting.near_duplicates import find_repeats
from ragkit.serve.prompting.packing import named

NO_ROOM = "does not fit"
_GAP = "behind a gap of the scores"
_NO_RERANKER = (
    "Nothing was done about a disagreement of retriever and reranker: no reranker ([rerank] kind) has ordered "
    "all hits."
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The hits that are worth showing, best first; those that are not, each with its reason; notes on them."""

    hits: tuple[Hit, ...]
    dropped: tuple[tuple[Hit, str], ...] = ()
    notes: tuple[str, ...] = ()


def select_hits(hits: Sequence[Hit], settings: GenerationConfig) -> Selection:
    """Leave out what repeats an earlier hit (`duplicates`), then what is likely to mislead (`choice`)."""
    selection = Selection(tuple(hits))
    if settings.duplicates != "keep":
        selection = _without(selection, _repeats(selection.hits, settings), "say what another source says")
    if settings.choice in ("gap", "both"):
        behind = behind_gap(selection.hits, settings.min_passages)
        selection = _without(selection, dict.fromkeys(behind, _GAP), "lie behind a gap of the scores")
    if settings.choice in ("disagreement", "both"):
        if any(hit.retrieved_rank is None for hit in selection.hits):
            return replace(selection, notes=(*selection.notes, _NO_RERANKER))
        fallen = _fallen(selection.hits, settings.min_passages)
        selection = _without(selection, fallen, "were put far lower by the reranker than by the retriever")
    return _weakest_last(selection, settings.min_passages) if settings.choice == "middle" else selection


def _weakest_last(selection: Selection, floor: int) -> Selection:
    """What the reranker put far below the retriever goes behind all others: the middle of the order "ends"."""
    hits = selection.hits
    if any(hit.retrieved_rank is None for hit in hits):
        return replace(selection, notes=(*selection.notes, _NO_RERANKER))
    fallen = disagreed_on(hits, floor)
    if not fallen:
        return selection
    moved = [hits[i] for i in fallen]
    note = (
        f"Counted as the weakest, for the reranker put {'it' if len(moved) == 1 else 'them'} far lower than the "
        f"retriever: {named(moved)}."
    )
    others = tuple(hit for i, hit in enumerate(hits) if i not in set(fallen))
    return replace(selection, hits=(*others, *moved), notes=(*selection.notes, note))


def dropped_hits(hits: Sequence[Hit], dropped: Sequence[tuple[Hit, str]]) -> tuple[DroppedHit, ...]:
    """The record of the hits that were left out, by their rank among all."""
    ranks = _ranks(hits)
    records = [
        DroppedHit(ranks.get(_key(hit), 0), hit.passage.document, hit.passage.page, reason)
        for hit, reason in dropped
    ]
    return tuple(sorted(records, key=lambda record: record.rank))


def ranks_of(hits: Sequence[Hit], sources: Sequence[Source]) -> tuple[int, ...]:
    """The rank among all hits of the hit that each source is made of."""
    ranks = _ranks(hits)
    return tuple(ranks.get(_key(source.hit), 0) for source in sources)


def _without(selection: Selection, reasons: Mapping[int, str], what: str) -> Selection:
    if not reasons:
        return selection
    hits = selection.hits
    out = [(hits[i], reason) for i, reason in sorted(reasons.items())]
    number = "1 passage was" if len(out) == 1 else f"{len(out)} passages were"
    note = f"{number} left out of the prompt, for they {what}: {named([hit for hit, _ in out])}."
    if len(out) == 1:
        note = note.replace("for they say ", "for it says ").replace("for they lie ", "for it lies ")
        note = note.replace("for they were ", "for it was ")
    left = tuple(hit for i, hit in enumerate(hits) if i not in reasons)
    return Selection(left, (*selection.dropped, *out), (*selection.notes, note))


def _repeats(hits: Sequence[Hit], settings: GenerationConfig) -> dict[int, str]:
    reasons = {}
    for repeat in find_repeats(hits, near=settings.duplicates == "near"):
        what = "repeats" if repeat.is_exact else "says nearly the same as"
        reasons[repeat.index] = f"{what} {named([hits[repeat.of]])}"
    return reasons


def _fallen(hits: Sequence[Hit], floor: int) -> dict[int, str]:
    return {
        i: f"place {hits[i].retrieved_rank} for the retriever, {i + 1} after reranking"
        for i in disagreed_on(hits, floor)
    }


def _ranks(hits: Sequence[Hit]) -> dict[tuple[int, str, int], int]:
    ranks: dict[tuple[int, str, int], int] = {}
    for rank, hit in enumerate(hits, 1):
        ranks.setdefault(_key(hit), rank)
    return ranks


def _key(hit: Hit) -> tuple[int, str, int]:
    """What stays of a hit however it is shown."""
    return hit.passage.key, hit.passage.document, hit.passage.page
