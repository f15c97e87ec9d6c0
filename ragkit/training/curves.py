"""The curves of a training run as one SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragkit.eval.reports.svg_plots import legend_below, look, svg_of
from ragkit.files import atomic_write
from ragkit.retrievers.training.training_log import read_log

CURVES = "curves.svg"
_LANGUAGES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def save_curves(log: Path, path: Path) -> None:
    """Draw the loss of every step, and the held-out loss after every epoch, over the steps."""
    records = read_log(log)
    steps = [record for record in records if record["kind"] == "step"]
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    svg = svg_of(lambda axes: _draw(axes, steps, evaluations), _description(steps, evaluations))
    # In a file of its own an element has to name its languages.
    with atomic_write(path) as file:
        file.write(svg.replace("<svg ", f"<svg {_LANGUAGES} ", 1).encode() + b"\n")


def _draw(axes: Any, steps: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]) -> None:
    for place, (name, field, records) in enumerate(
        (("training", "loss", steps), ("held out", "total", evaluations))
    ):
        style = {**look(place), "markersize": 2 if records is steps else 6}
        axes.plot([one["step"] for one in records], [one[field] for one in records], **style, label=name)
    axes.set_xlabel("steps")
    axes.set_ylabel("loss")
    legend_below(axes)


def _description(steps: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]) -> str:
    totals = [record["total"] for record in evaluations]
    return (
        f"Loss over {len(steps)} steps. Held out it is {totals[0]:.4f} before training, {min(totals):.4f} at best "
        f"and {totals[-1]:.4f} at the end."
    )
