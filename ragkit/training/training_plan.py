"""What decides the model that a training run makes: what its folder is gone on with by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ragkit import __version__
from ragkit.assemble import NO_EMBEDDER
from ragkit.config import Config
from ragkit.errors import DataError
from ragkit.evaluations.run_plan import SEARCHING, deciding_settings, reranker_facts
from ragkit.files import sha256_of
from ragkit.indexers.models.model_files import local_model_folder, model_folder
from ragkit.indexers.models.text_embedder import local_name, model_digest
from ragkit.retrievers.training.examples import LISTS, PASSAGES, QUESTIONS


def training_plan(command: str, data: Path, base: str, training: Mapping[str, object]) -> dict[str, object]:
    """As JSON facts. data: a training folder, named by its content. base: a model, by its weights.

    Raises:
        DataError: a file of the training folder cannot be read.
        ConfigError: there is no such model.
    """
    return {
        "command": command,
        "ragkit": __version__,
        "data": training_set_digest(data),
        "base": {"name": base, "fingerprint": model_digest(model_folder(local_name(base)), "")},
        "training": dict(training),
    }


def training_set_digest(data: Path, *, with_lists: bool = True) -> str:
    """A training folder by its content, of which lists may decide nothing.

    Raises:
        DataError: one of its files cannot be read.
    """
    try:
        names = (PASSAGES, QUESTIONS, LISTS) if with_lists else (PASSAGES, QUESTIONS)
        digests = [sha256_of(data / name) for name in names]
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def model_facts(name: str) -> dict[str, str]:
    """A model by its weights, where it is one and they are here: another one in the same folder is another."""
    folder = local_model_folder(local_name(name)) if name not in ("", NO_EMBEDDER) else None
    return {"name": name, "fingerprint": model_digest(folder, "") if folder else ""}


def searched_by(config: Config) -> dict[str, object]:
    """What finds passages: the settings that decide it, and the embedders by weights and prompts."""
    texts, pages = config.embedder, config.page_embedder
    return {
        "config": deciding_settings(config, SEARCHING - {"embedder", "page_embedder"}),
        "embedder": {**model_facts(texts.name), "prompts": [texts.query_prompt, texts.passage_prompt]},
        "page_embedder": {**model_facts(pages.name), "prompts": [pages.query_prompt, pages.passage_prompt]},
    }


def reranked_by(config: Config) -> dict[str, object]:
    """What decides a reranker's scores: its settings, those of the engine where that is asked, and the model."""
    tables = deciding_settings(config, {"rerank", "generation"} if config.rerank.asks_engine else {"rerank"})
    # How many hits are given to it, and how much its scores count, is not of the scores.
    tables["rerank"] = {key: value for key, value in tables["rerank"].items() if key not in ("depth", "weight")}
    return {**tables, **reranker_facts(config)}
