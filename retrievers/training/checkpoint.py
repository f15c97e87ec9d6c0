"""What a killed training run goes on from: one file with weights, the optimiser's moments and where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.errors import DataError
from ragkit.extras import require
from ragkit.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import AdamW

FILE, BEST = "checkpoint.safetensors", "best.safetensors"
_WEIGHT, _STATE = "weight.", "state"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_weights(path: Path, parameters: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Weights alone, by name, with JSON facts; as a whole or not at all."""
    _write(path, {_WEIGHT + name: value for name, value in parameters.items()}, facts)


def load_weights(path: Path, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    """Put weights into the parameters of these names; the facts saved with them.

    Raises:
        DataError: the file is damaged, or of another model.
    """
    tensors, facts = _read(path)
    _fill(path, parameters, tensors)
    return facts


def save_checkpoint(
    path: Path, parameters: Mapping[str, Tensor], optimiser: AdamW, state: Mapping[str, Any]
) -> None:
    """Everything that decides how training goes on. state: JSON."""
    tensors = {_WEIGHT + name: value for name, value in parameters.items()}
    steps = 0
    for name, value in parameters.items():
        moments = optimiser.state.get(value, {})
        tensors |= {f"{moment}.{name}": moments[moment] for moment in _MOMENTS if moment in moments}
        steps = max(steps, int(moments.get("step", 0)))
    _write(path, tensors, {"steps": steps, "state": dict(state)})


def load_checkpoint(path: Path, parameters: Mapping[str, Tensor], optimiser: AdamW) -> dict[str, Any]:
    """The state saved; parameters and optimiser are as they were.

    Raises:
        DataError: the file is damaged, or of another model.
    """
    torch = require("torch")
    tensors, facts = _read(path)
    _fill(path, parameters, tensors)
    for name, value in parameters.items():
        if f"{_MOMENTS[0]}.{name}" in tensors:
            moments = {moment: tensors[f"{moment}.{name}"].to(value.device) for moment in _MOMENTS}
            optimiser.state[value] = {"step": torch.tensor(float(facts["steps"])), **moments}
    state: dict[str, Any] = facts["state"]
    return state


def drop_checkpoints(folder: Path) -> None:
    """Delete what only a run that goes on needs."""
    for name in (FILE, BEST):
        (folder / name).unlink(missing_ok=True)


def _fill(path: Path, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    with require("torch").no_grad():
        for name, value in parameters.items():
            saved = tensors.get(_WEIGHT + name)
            if saved is None or saved.shape != value.shape:
                found = "no weight" if saved is None else f"a weight of shape {tuple(saved.shape)}"
                raise DataError(
                    f"{path} has {found} for {name!r}, the model one of {tuple(value.shape)}; "
                    "it is of another model: train in another folder"
                )
            value.copy_(saved)


def _write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(path) as file:
        file.write(require("safetensors.torch").save(kept, {_STATE: json.dumps(facts)}))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    safetensors = require("safetensors")
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts: dict[str, Any] = json.loads(file.metadata()[_STATE])
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise DataError(f"{path} cannot be read: {error}; delete it to begin training anew") from error
    return tensors, facts
