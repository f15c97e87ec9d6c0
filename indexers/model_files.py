"""The files of a model, in a folder or from the hub, before anything of it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require

# Other forms of the same weights: never loaded, so never fetched.
_NOT_FETCHED = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*"]


def model_folder(name: str) -> Path:
    """The folder that `name` is, or the hub's copy of that model in the cache, fetched where it is missing.

    Raises:
        ConfigError: there is no such folder, and the hub does not give it.
    """
    if Path(name).is_dir():
        return Path(name)
    hub = require("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, ignore_patterns=_NOT_FETCHED))
    except _not_to_be_had() as error:
        raise ConfigError(
            f"model {name!r} is no folder and cannot be fetched from the hub ({_first_line(error)}). "
            "Give a folder, or the name of a model that the hub's cache holds or this machine can fetch"
        ) from error


def read_model_file(name: str, file: str) -> Any:
    """A JSON file of a model, without its weights; None where the model or the file cannot be had.

    Raises:
        ConfigError: the file is there and is not JSON.
    """
    path = Path(name) / file if Path(name).is_dir() else _from_hub(name, file)
    if path is None or not path.is_file():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error


def _from_hub(name: str, file: str) -> Path | None:
    hub = require("huggingface_hub")
    try:
        return Path(hub.hf_hub_download(name, file))
    except _not_to_be_had():
        return None


def _not_to_be_had() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises for a name that is malformed, unknown to it, or out of reach."""
    missing_file: type[Exception] = require("huggingface_hub").errors.EntryNotFoundError
    no_connection: type[Exception] = require("httpx").HTTPError
    # A malformed name is a ValueError; an unknown one, and one that is not in the cache, are OSErrors.
    return (OSError, ValueError, missing_file, no_connection)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
