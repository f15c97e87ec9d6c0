"""The folder of a trained reformulator: weights as safetensors, what it is as JSON, and its encoder, if any."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.devices import Placement, choose_placement
from ragkit.errors import ConfigError, DataError
from ragkit.extras import require
from ragkit.files import atomic_write
from ragkit.retrievers.feedback.term_reformulator import TermReformulator
from ragkit.retrievers.feedback.text_reformulator import TextReformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, FACTS, ENCODER = "model.safetensors", "reformulator.json", "encoder"
_FORMAT = 1
_KINDS = ("vector", "dense", "sparse")

AnyReformulator = VectorReformulator | TextReformulator | TermReformulator


def save_reformulator(model: AnyReformulator, folder: Path) -> None:
    """Write what `load_reformulator` reads; weights first, so that a folder with facts is whole."""
    if isinstance(model, VectorReformulator):
        weights: Mapping[str, Tensor] = model.parameters
    else:
        weights = model.heads
        model.encoder.save(folder / ENCODER)
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    with atomic_write(folder / WEIGHTS) as file:
        file.write(require("safetensors.torch").save(tensors))
    facts = {"format": _FORMAT, "kind": model.kind, **model.facts()}
    with atomic_write(folder / FACTS) as file:
        file.write(json.dumps(facts, indent=1).encode() + b"\n")


def load_reformulator(folder: Path, place: Callable[[], Placement] = choose_placement) -> AnyReformulator:
    """What `ragkit train lol` wrote.

    Args:
        place: where an encoder runs; asked where the model has one.

    Raises:
        ConfigError: there is no such folder.
        DataError: its files are damaged, or of another version.
    """
    if not (folder / FACTS).exists():
        raise ConfigError(f"{folder} has no {FACTS}; give the folder model/ of a run of ragkit train lol")
    facts = _read(folder / FACTS)
    placement = None if facts["kind"] == VectorReformulator.kind else place()
    try:
        model = _make(facts, folder / ENCODER, placement)
        model.load(require("safetensors.torch").load_file(folder / WEIGHTS))
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        ConfigError,
        require("safetensors").SafetensorError,
    ) as error:
        raise DataError(f"{folder} cannot be read as a reformulator: {error}; train it anew") from error
    return model


def _make(facts: Mapping[str, Any], encoder: Path, placement: Placement | None) -> AnyReformulator:
    if placement is None:
        return VectorReformulator.from_facts(facts)
    if facts["kind"] == "dense":
        return TextReformulator.from_facts(facts, encoder, placement)
    return TermReformulator.from_facts(facts, encoder, placement)


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
        number, kind = facts["format"], facts["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no description of a reformulator: {error!r}; train it anew") from error
    if number != _FORMAT or kind not in _KINDS:
        raise DataError(
            f"{path} has format {number!r} and kind {kind!r}, this ragkit reads format {_FORMAT} of the kinds "
            f"{', '.join(_KINDS)}; train the model anew"
        )
    read: dict[str, Any] = facts
    return read
