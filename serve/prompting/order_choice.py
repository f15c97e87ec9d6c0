"""The order of the sources, by the settings or by how well the served model reads each position."""

from __future__ import annotations

from dataclasses import replace

from ragkit.config import GenerationConfig
from ragkit.serve.prompting.position_curve import choose_order, is_of_model, stored_curve
from ragkit.serve.prompting.reorder import Order, in_order
from ragkit.serve.prompting.shown_hits import Shown


def chosen_order(settings: GenerationConfig, engine: str, k: int) -> tuple[Order, str]:
    """The order of k sources for the engine of that name, and what chose it.

    Raises:
        ConfigError: the position curve of the settings cannot be read.
    """
    if settings.order != "auto":
        return settings.order, "the setting [generation] order"
    if not settings.position_curve:
        return "rank", "no position curve is stored"
    curve = stored_curve(settings.position_curve)
    if not is_of_model(curve, engine):
        return "rank", f"the stored position curve is of {curve.model}, and the engine is {engine}"
    return choose_order(curve, k)


def in_page_order(shown: Shown, order: Order) -> Shown:
    """The pages that are shown as pictures in this order; the texts behind them as they were."""
    pages = shown.hits[: len(shown.pictures)]
    ranks = in_order(order, pages)
    return replace(
        shown,
        hits=(*(pages[rank - 1] for rank in ranks), *shown.hits[len(pages) :]),
        pictures=tuple(shown.pictures[rank - 1] for rank in ranks),
    )
