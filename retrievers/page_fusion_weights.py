"""Weights of a page fusion: what fitting gives, what a corpus keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ragkit.errors import DataError
from ragkit.protocols import Retriever
from ragkit.retrievers.hybrid import Fusion
from ragkit.retrievers.page_fusion import PageFusionRetriever, standard_score_fusion

_FORMAT = 1
_STANDARDISATION = "z-score"


@dataclass(frozen=True, slots=True)
class PageFusionWeights:
    """How much each route counts, and what speaks for it.

    routes, weights: names and weights in one order; the weights are not negative and add up to 1.
    depth: pages taken from each route, when fitting as when searching.
    fitted: the weights before the safeguard.
    num_questions, num_documents: what they were fitted on.
    alone: nDCG@10 of each route alone; fused: of the fusion on documents that it was not fitted on
    (cross-validation). gain: fused less the better route, mean and standard error; likelihood_gain:
    likewise of the log-likelihood of the relevant pages.
    """

    routes: tuple[str, ...]
    weights: tuple[float, ...]
    depth: int
    fitted: tuple[float, ...]
    num_questions: int
    num_documents: int
    alone: tuple[float, ...]
    fused: float
    gain: tuple[float, float]
    likelihood_gain: tuple[float, float]
    standardisation: str = _STANDARDISATION

    def __post_init__(self) -> None:
        lengths = {len(self.routes), len(self.weights), len(self.fitted), len(self.alone)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"{len(self.routes)} routes, {len(self.weights)} weights: one of each a route")
        if any(weight < 0 for weight in self.weights) or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"weights must not be negative and must add up to 1: {list(self.weights)}")
        if self.standardisation != _STANDARDISATION:
            raise ValueError(f"standardisation {self.standardisation!r}; known: {_STANDARDISATION!r}")

    @property
    def used(self) -> tuple[str, ...]:
        """The routes whose weight is not 0: no other need be asked."""
        return tuple(name for name, weight in zip(self.routes, self.weights, strict=True) if weight > 0)

    @property
    def fuse(self) -> Fusion:
        """The fusion of rankings of the routes in `used`, in that order."""
        return partial(standard_score_fusion, weights=[weight for weight in self.weights if weight > 0])

    def retriever(self, routes: Mapping[str, Retriever]) -> PageFusionRetriever:
        """The retriever that searches with these weights; it asks the routes in `used` alone.

        Raises:
            DataError: a route is missing.
        """
        missing = [name for name in self.used if name not in routes]
        if missing:
            raise DataError(
                f"page fusion was fitted for the routes {_list(self.routes)} and this corpus has {_list(routes)}; "
                "fit it again: ragkit train fusion"
            )
        return PageFusionRetriever({name: routes[name] for name in self.used}, self.fuse, self.depth)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> PageFusionWeights:
        """Read what `to_json` gave.

        Raises:
            DataError: it was written by another version, or a value is missing or out of range.
        """
        if raw.get("format") != _FORMAT:
            raise DataError(
                f"page fusion weights of format {raw.get('format')!r}, this version reads {_FORMAT}; "
                "fit them again: ragkit train fusion"
            )
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in raw.items() if name != "format"
        }
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise DataError(f"page fusion weights cannot be read: {error}") from error


def _list(names: Sequence[str] | Mapping[str, Retriever]) -> str:
    return ", ".join(names)
