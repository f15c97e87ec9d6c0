"""The folder of a trained reformulator: its weights as safetensors, and what it is as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError, DataError
from ragkit.extras import require
from ragkit.files import atomic_write
from ragkit.retrievers.feedback.reformulator import Reformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, VectorShape

WEIGHTS, FACTS = "model.safetensors", "reformulator.json"
_FORMAT = 1


def save_reformulator(model: VectorReformulator, folder: Path) -> None:
    """Write what `load_reformulator` reads; weights first, so that a folder with facts is whole."""
    tensors = {name: value.detach().contiguous() for name, value in model.parameters.items()}
    with atomic_write(folder / WEIGHTS) as file:
        file.write(require("safetensors.torch").save(tensors))
    facts = {"format": _FORMAT, "kind": model.kind, **model.facts()}
    with atomic_write(folder / FACTS) as file:
        file.write(json.dumps(facts, indent=1).encode() + b"\n")


def load_reformulator(folder: Path) -> Reformulator:
    """What `ragkit train lol` wrote.

    Raises:
        ConfigError: there is no such folder.
        DataError: its files are damaged, or of another version.
    """
    if not (folder / FACTS).exists():
        raise ConfigError(f"{folder} has no {FACTS}; give the folder model/ of a run of ragkit train lol")
    facts = _read(folder / FACTS)
    try:
        shape = VectorShape(**facts["shape"])
        model = VectorReformulator(shape, facts["fingerprint"], facts["metric"], facts["threshold"])
        model.load(require("safetensors.torch").load_file(folder / WEIGHTS))
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        require("safetensors").SafetensorError,
    ) as error:
        raise DataError(f"{folder} cannot be read as a reformulator: {error}; train it anew") from error
    return model


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
        found = (facts["format"], facts["kind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no description of a reformulator: {error!r}; train it anew") from error
    if found != (_FORMAT, VectorReformulator.kind):
        raise DataError(
            f"{path} has format and kind {found}, this ragkit reads {(_FORMAT, VectorReformulator.kind)}; "
            "train the model anew"
        )
    read: dict[str, Any] = facts
    return read
