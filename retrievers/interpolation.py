"""How much a reranker counts beside the retriever."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ConfigError, DataError
from ragkit.files import atomic_write
from ragkit.records import Hit

FILE = "reranking.json"
"""In a model's folder: the weight that was chosen for it, and how."""


def interpolated(reranked: Sequence[Hit], retrieved: Mapping[int, float], weight: float) -> list[Hit]:
    """The hits by weight * reranker's score + (1 - weight) * retriever's, each standardised over the hits.

    retrieved: the retriever's scores by passage key.
    """
    scores = mixed_scores(
        [hit.score for hit in reranked], [retrieved[hit.passage.key] for hit in reranked], weight
    )
    hits = [replace(hit, score=float(score)) for hit, score in zip(reranked, scores, strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.passage.key))


def mixed_scores(reranker: Sequence[float], retriever: Sequence[float], weight: float) -> NDArray[np.float64]:
    """float64 (n,): both standardised to mean 0 and standard deviation 1, then weighed."""
    return weight * _standardised(reranker) + (1 - weight) * _standardised(retriever)


def stored_weight(folder: Path) -> float:
    """The weight that lies beside a model; 1, the reranker alone, where there is none.

    Raises:
        ConfigError: the file is no JSON with a weight from 0 to 1.
    """
    path = folder / FILE
    if not path.is_file():
        return 1.0
    try:
        weight = json.loads(path.read_text("utf-8"))["weight"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} holds no weight: {error!r}; set rerank.weight, or delete the file") from error
    if type(weight) not in (int, float) or not 0 <= weight <= 1:
        raise ConfigError(f"{path}: the weight is {weight!r}, expected a number from 0 to 1")
    return float(weight)


def store_weight(folder: Path, weight: float, facts: Mapping[str, object]) -> None:
    """Keep a weight beside a model; facts: how it was chosen.

    Raises:
        DataError: it cannot be written there; the message has the weight.
    """
    try:
        with atomic_write(folder / FILE) as file:
            file.write(json.dumps({"weight": weight, **facts}, indent=2).encode() + b"\n")
    except OSError as error:
        raise DataError(
            f"cannot write {folder / FILE}: {error.strerror or error}; set rerank.weight = {weight:g} instead"
        ) from error


def _standardised(scores: Sequence[float]) -> NDArray[np.float64]:
    """Zeros where all are equal: then they say nothing."""
    values = np.asarray(scores, np.float64)
    # Of equal scores the mean may be off by a rounding, and that must not count as a difference.
    if not values.size or values.max() == values.min():
        return np.zeros_like(values)
    standardised: NDArray[np.float64] = (values - values.mean()) / values.std()
    return standardised
