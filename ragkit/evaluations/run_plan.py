"""What decides the results of an evaluation, and where it ran: what the manifest of a run says."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Set
from importlib import metadata
from pathlib import Path
from typing import Any

from ragkit import __version__
from ragkit.assemble import rerank_weight
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.eval.speed.timing import machine_facts
from ragkit.feedback_config import LolFeedback
from ragkit.retrievers.remote_reranker import shown_url

# Settings of the machine, of how long is waited, and of where a key is: in any table.
_NOT_OF_ANY_TABLE = frozenset(
    "device batch_tokens batch_pages render_processes memory_mb timeout_s connect_timeout_s retries "
    "breaker_failures breaker_s api_key_env vllm_python keep_pages".split()
)
_LIBRARIES = tuple(
    "faiss-cpu faiss-gpu faiss-gpu-cuvs numpy torch transformers sentence-transformers vllm bm25s PyStemmer "
    "pypdfium2 rapidocr onnxruntime ir-measures pytrec-eval-terrier scipy".split()
)
# Of these the model's files are another machine's matter.
_ELSEWHERE = frozenset({"remote", "openai"})
SEARCHING = frozenset("passages embedder pages page_embedder late_interaction index lexical retrieval".split())
"""Tables of the settings that decide what is found."""


def plan_of(
    command: str, config: Config, corpus: Corpus, data: Mapping[str, object], *, generates: bool = False
) -> dict[str, object]:
    """What decides the results; one that differs makes another run.

    Args:
        data: of the collection and what is asked of it: fingerprints, split, scope, depth, measures, seed.
        generates: whether answers are written, so that the settings of generation count.
    """
    return {
        "command": command,
        "ragkit": __version__,
        "data": dict(data),
        "config": deciding_settings(
            config, SEARCHING | {"documents", "rerank"} | ({"generation"} if generates else set())
        ),
        "models": _models(config, corpus, generates),
    }


def plan_of_engine(command: str, config: Config, data: Mapping[str, object]) -> dict[str, object]:
    """As `plan_of`, of work that an engine does without a corpus."""
    return {
        "command": command,
        "ragkit": __version__,
        "data": dict(data),
        "config": deciding_settings(config, {"generation"}),
        "models": {"generator": _generator(config)},
    }


def session_facts(corpus: Corpus | None = None) -> dict[str, object]:
    """Where and with what code a session runs: it may be another in the next session."""
    info = None if corpus is None else corpus.info()
    made_by = {} if info is None else {"embedder": info.embedder, "page_embedder": info.page_embedder}
    return {
        "code": code_version(),
        "machine": machine_facts(),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
        "vectors_made_on": {
            what: {"device": facts.device, "dtype": facts.dtype} for what, facts in made_by.items() if facts
        },
        "system": platform.platform(),
    }


def code_version() -> str:
    """ragkit's version; in a checkout with the commit, and "+changes" where files differ from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return __version__
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return __version__
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{__version__} ({commit}{'+changes' if changed else ''})"


def deciding_settings(config: Config, tables: Set[str]) -> dict[str, dict[str, Any]]:
    """These tables as JSON, less what decides no result; addresses without user, password and query."""
    written = config.model_dump(mode="json")
    return {
        table: {key: _shown(key, value) for key, value in written[table].items() if key not in _NOT_OF_ANY_TABLE}
        for table in written
        if table in tables
    }


def _shown(key: str, value: object) -> object:
    return shown_url(value) if key == "url" and isinstance(value, str) else value


def _models(config: Config, corpus: Corpus, generates: bool) -> dict[str, object]:
    """By what they are for: a fingerprint of those that made the corpus's vectors and of those in folders."""
    info = corpus.info()
    made_by = {
        "embedder": info.embedder,
        "page_embedder": info.page_embedder,
        "token_embedder": info.token_embedder,
    }
    models: dict[str, object] = {
        what: {"name": facts.name, "fingerprint": facts.fingerprint} for what, facts in made_by.items() if facts
    }
    if config.rerank.kind != "none":
        models["reranker"] = {**reranker_facts(config), "weight": rerank_weight(config)}
    for table in config.retrieval.feedback:
        if isinstance(table, LolFeedback):
            models["reformulator"] = _named(table.model, table.kind)
    if generates:
        models["generator"] = _generator(config)
    return models


def reranker_facts(config: Config) -> dict[str, str]:
    """The model that reranks; where the engine is asked, that of the engine."""
    settings = config.rerank
    return _generator(config) if settings.asks_engine else _named(settings.model, settings.kind)


def _generator(config: Config) -> dict[str, str]:
    generation = config.generation
    return {"engine": generation.engine, **_named(generation.model, generation.engine)}


def _named(model: str, kind: str) -> dict[str, str]:
    """A model by its name; of one that runs here, from a folder or the hub's cache, a fingerprint too."""
    from ragkit.indexers.models.model_files import local_model_folder
    from ragkit.indexers.models.text_embedder import local_name, model_digest

    folder = local_model_folder(local_name(model)) if model and kind not in _ELSEWHERE else None
    return {"name": model} | ({"fingerprint": model_digest(folder, "")} if folder else {})


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *words: str) -> str | None:
    """What git says of a checkout; None where there is no git, or it does not know the folder."""
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
