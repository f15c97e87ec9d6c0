"""The requests that a question and its hits make: one, or one a page whose answers are then weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.config import GenerationConfig
from ragkit.protocols import Engine, PassageStore
from ragkit.records import AskRequest, ChatRequest, DroppedHit, Hit
from ragkit.serve.prompting.packing import with_room_used
from ragkit.serve.prompting.planner import Planner
from ragkit.serve.prompting.reorder import Order
from ragkit.serve.prompting.selection import NO_ROOM, dropped_hits, select_hits


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """requests: none where there is nothing to show, several for weighted selection. notes: of all of them.

    order, why, dropped: as in `Packing`, whose ranks are those of the request that is kept (`ranks_of`).
    """

    requests: tuple[ChatRequest, ...]
    notes: tuple[str, ...]
    order: Order = "rank"
    why: str = ""
    dropped: tuple[DroppedHit, ...] = ()


def plan_requests(
    ask: AskRequest,
    hits: Sequence[Hit],
    engine: Engine,
    store: PassageStore,
    settings: GenerationConfig,
    reserved: int = 0,
    *,
    without_sources: bool = False,
) -> RequestPlan:
    """Choose what of the hits the engine sees, by the settings, and fit it into its context.

    What does not fit is left out or cut: pictures are scaled down, turns of the history go, then sources; then
    `max_tokens` is lowered, to no less than a quarter of the context; then system messages and the question's end
    are cut, and its images go. Each is noted. reserved: tokens of the context that are kept for what the caller
    adds. without_sources: make a request although there is nothing to show.

    Raises:
        ConfigError: pictures are to be shown and the engine reads none, or the position curve cannot be read.
        ImageInputError: the asker shows images and the engine reads none.
        ContextLengthError: not even the instructions fit.
    """
    selection = select_hits(hits, settings)
    plan = Planner(ask, engine, store, settings, reserved, without_sources).plan(selection.hits)
    dropped = [(hit, reason) for hit, reason in selection.dropped] + [(hit, NO_ROOM) for hit in plan.dropped]
    return RequestPlan(
        tuple(with_room_used(request, engine, ask.sampling.max_tokens, reserved) for request in plan.requests),
        (*selection.notes, *plan.notes),
        plan.order,
        plan.why,
        dropped_hits(hits, dropped),
    )
