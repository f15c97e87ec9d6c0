"""The files of a model, in a folder or from the hub, before anything of it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require

# Other forms of the same weights: never loaded, so never fetched.
_NOT_FETCHED = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*"]


# One question to the hub for a small file; it is asked once, while huggingface_hub would ask for half a minute.
_ASK_TIMEOUT_S = 10.0


def model_folder(name: str) -> Path:
    """The folder that `name` is, or the hub's copy of that model in the cache, fetched where it is not whole.

    Raises:
        ConfigError: there is no such folder, and the hub does not give it.
    """
    local = local_model_folder(name)
    if local is not None:
        return local
    hub = require("huggingface_hub")
    try:
        folder = Path(hub.snapshot_download(name, ignore_patterns=_NOT_FETCHED))
    except _not_to_be_had() as error:
        raise ConfigError(
            f"model {name!r} is no folder and cannot be fetched from the hub ({_first_line(error)}). "
            "Give a folder, or the name of a model that the hub's cache holds or this machine can fetch"
        ) from error
    if not _is_whole(folder):
        raise ConfigError(
            f"{folder}, the copy of {name!r}, lacks weights in the form of safetensors, or some of them; "
            "fetch it on a machine that reaches the hub, or convert a model that only has pickled weights"
        )
    return folder


def is_cached(name: str) -> bool:
    """Whether the hub's cache holds all weights of a model."""
    return _cached_folder(name) is not None


def local_model_folder(name: str) -> Path | None:
    """The folder that `name` is, or the hub's copy of that model in the cache; None where neither is there."""
    return Path(name) if Path(name).is_dir() else _cached_folder(name)


def _cached_folder(name: str) -> Path | None:
    try:
        folder = Path(require("huggingface_hub").snapshot_download(name, local_files_only=True))
    except _not_to_be_had():
        return None
    return folder if _is_whole(folder) else None


def read_model_file(name: str, file: str) -> Any:
    """A JSON file of a model, without its weights; None where the model or the file cannot be had.

    Raises:
        ConfigError: the file is there and is not JSON.
    """
    content = _from_folder(Path(name) / file) if Path(name).is_dir() else _from_hub(name, file)
    if content is None:
        return None
    try:
        return json.loads(content.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} of {name!r} is not valid JSON: {error}") from error


def _from_folder(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _from_hub(name: str, file: str) -> bytes | None:
    hub, httpx = require("huggingface_hub"), require("httpx")
    try:
        cached = hub.try_to_load_from_cache(name, file)
        if isinstance(cached, str):
            return Path(cached).read_bytes()
        # Known to be absent, or not to be asked for.
        if cached is not None or hub.constants.HF_HUB_OFFLINE:
            return None
        headers = hub.utils.build_hf_headers()
        url = hub.hf_hub_url(name, file)
        answer = httpx.get(url, headers=headers, timeout=_ASK_TIMEOUT_S, follow_redirects=True)
    except _not_to_be_had():
        return None
    content: bytes | None = answer.content if answer.status_code == 200 else None
    return content


def _is_whole(folder: Path) -> bool:
    """Whether all files of weights are there that the folder's own list names, or any where it has no list."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(folder.rglob("*.safetensors"))
    shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    return all((folder / shard).is_file() for shard in shards)


def _not_to_be_had() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises for a name that is malformed, unknown to it, or out of reach."""
    missing_file: type[Exception] = require("huggingface_hub").errors.EntryNotFoundError
    no_connection: type[Exception] = require("httpx").HTTPError
    # A malformed name is a ValueError; an unknown one, and one that is not in the cache, are OSErrors.
    return (OSError, ValueError, missing_file, no_connection)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
