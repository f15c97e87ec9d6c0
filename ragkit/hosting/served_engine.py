"""The engine that all corpora of a server share, and the vLLM server behind it where ragkit runs that itself."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from ragkit.assemble import make_engine, make_openai_engine
from ragkit.config import Config, GenerationConfig
from ragkit.errors import ConfigError
from ragkit.protocols import Engine, Upstream

_CANNOT_SERVE = (
    "generation.engine = 'vllm' is for offline batches: it cannot stream. To serve, let vLLM's own server run: "
    "ragkit serve --vllm MODEL, or engine = 'openai' with the url of one"
)


@dataclass(frozen=True, slots=True)
class ServedEngine:
    """engine: None where each corpus makes its own, which uses the corpus's embedder. upstreams: behind it.

    config: what the corpora are to be opened with.
    """

    config: Config
    engine: Engine | None = None
    upstreams: tuple[Upstream, ...] = field(default=())


@contextmanager
def served_engine(config: Config, vllm: str = "", vllm_python: str = "") -> Iterator[ServedEngine]:
    """While the server runs. vllm: a model, by hub name or folder, for which vLLM's server is started and ended.

    Raises:
        ConfigError: the configuration's engine cannot serve, or vLLM is not where it should be.
        EngineError: vLLM's server did not start; the end of its log is in the message.
    """
    if vllm:
        with _managed_vllm(config, vllm, vllm_python) as served:
            yield served
        return
    if vllm_python:
        raise ConfigError("--vllm-python is of use with --vllm MODEL alone")
    if config.generation.engine == "vllm":
        raise ConfigError(_CANNOT_SERVE)
    if config.generation.engine == "extractive":
        yield ServedEngine(config)
        return
    engine = make_engine(config, None)
    yield ServedEngine(config, engine, (engine,) if isinstance(engine, Upstream) else ())


@contextmanager
def _managed_vllm(config: Config, model: str, python: str) -> Iterator[ServedEngine]:
    from ragkit.serve.engines.managed_engine import ManagedEngine
    from ragkit.serve.engines.vllm_server import VllmServer

    settings = config.generation
    server = VllmServer(model, _python(python or settings.vllm_python), _arguments(settings))
    settings = settings.model_copy(update={"engine": "openai", "model": server.name})
    engine = ManagedEngine(
        server, lambda url: make_openai_engine(settings.model_copy(update={"url": url}), server.key)
    )
    server.start()
    try:
        yield ServedEngine(config.model_copy(update={"generation": settings}), engine, (engine,))
    finally:
        server.stop()


def _python(named: str) -> Path:
    if named:
        found = shutil.which(os.path.expanduser(named))
        if found is None:
            raise ConfigError(f"--vllm-python {named!r} is no program; give the Python that vLLM is installed in")
        # Not resolved: a virtual environment's Python is a link.
        return Path(found).absolute()
    if find_spec("vllm") is None:
        raise ConfigError(
            "vllm is not installed here; give the Python of the environment that it is installed in: "
            "--vllm-python PATH, or [generation] vllm_python"
        )
    return Path(sys.executable)


def _arguments(settings: GenerationConfig) -> list[str]:
    """What the settings say of context and images, unless vllm_args do."""
    given = list(settings.vllm_args)
    flags = {argument.split("=")[0] for argument in given}
    if settings.context_tokens and "--max-model-len" not in flags:
        given += ["--max-model-len", str(settings.context_tokens)]
    if settings.max_images and "--limit-mm-per-prompt" not in flags:
        given += ["--limit-mm-per-prompt", f'{{"image": {settings.max_images}}}']
    return given
