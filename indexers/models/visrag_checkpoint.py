"""A VisRAG-Ret checkpoint on disk: its configuration, and its tensors one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.extras import require

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

# In the files of some checkpoints, and of no use for embeddings.
_UNUSED = ("llm.lm_head.", "rotary_emb.inv_freq")
_LISTED = 8


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        ConfigError: it is missing or not a JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{path} is missing; give the folder of a whole checkpoint")
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} holds {type(config).__name__}, expected a JSON object")
    return config


def read_tensors(folder: Path, wanted: Mapping[str, Shape], placement: Placement) -> dict[str, Tensor]:
    """The wanted tensors, each put on the device in its dtype as it is read.

    Raises:
        ConfigError: the files are missing or damaged, or tensors are missing, unexpected or of another shape.
    """
    torch = require("torch")
    files = _tensor_files(folder)
    found: dict[str, Shape] = {}
    for path in files:
        found |= {name: tuple(opened.get_slice(name).get_shape()) for opened, name in _entries(path)}
    _compare(folder, wanted, found)
    tensors: dict[str, Tensor] = {}
    for path in files:
        for opened, name in _entries(path):
            if name in wanted:
                tensor = opened.get_tensor(name)
                # A copy: views would keep the whole file mapped.
                tensors[name] = torch.empty(
                    tensor.shape, dtype=placement.torch_dtype, device=placement.device
                ).copy_(tensor)
    return tensors


def _entries(path: Path) -> Iterator[tuple[Any, str]]:
    safetensors = require("safetensors")
    try:
        with safetensors.safe_open(str(path), framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                yield opened, name
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{path} is damaged: {error}; fetch it again") from error


def _tensor_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        single = folder / "model.safetensors"
        if single.is_file():
            return [single]
        pickles = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        raise ConfigError(_no_weights(folder, pickles))
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{index} is not an index of safetensors files: {error!r}") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder} lacks {', '.join(missing)}, which {index.name} names; fetch the model again")
    return [folder / name for name in names]


def _no_weights(folder: Path, pickles: list[str]) -> str:
    if not pickles:
        return (
            f"{folder} holds neither model.safetensors nor model.safetensors.index.json; "
            "give a checkpoint whose weights are safetensors"
        )
    return (
        f"{folder} holds its weights as {', '.join(pickles)}; a pickle can run code when it is read, so ragkit "
        "takes safetensors alone. Convert a checkpoint that you trust: "
        "safetensors.torch.save_file(torch.load(file, weights_only=True), 'model.safetensors')"
    )


def _compare(folder: Path, wanted: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted and not any(part in name for part in _UNUSED)]
    reshaped = [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{what} ({len(names)}): {_listed(names)}"
        for what, names in (
            ("missing tensors", missing),
            ("unexpected tensors", unexpected),
            ("tensors of the wrong shape", reshaped),
        )
        if names
    ]
    if problems:
        raise ConfigError(
            f"the weights in {folder} do not fit its config.json: {'; '.join(problems)}. "
            "Fetch the checkpoint again, or give the config.json that belongs to it"
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"
