"""Settings of pseudo-relevance feedback: the tables of `retrieval.feedback`, one for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class NoFeedback(_Table):
    """What is searched for stays as it was asked."""

    kind: Literal["none"]


class AverageFeedback(_Table):
    """The query's vector becomes the mean of it and the vectors of its first `depth` passages."""

    kind: Literal["average"]
    depth: int = Field(default=3, ge=1)


class RocchioFeedback(_Table):
    """alpha times the query's vector, plus beta times the mean of its first `depth` passages, less gamma times the
    mean of the last `bottom` among its first `pool`.
    """

    kind: Literal["rocchio"]
    depth: int = Field(default=5, ge=1)
    alpha: float = Field(default=0.4, ge=0, allow_inf_nan=False)
    beta: float = Field(default=0.6, ge=0, allow_inf_nan=False)
    gamma: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    bottom: int = Field(default=0, ge=0)
    pool: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _check_bottom(self) -> Self:
        if (self.gamma > 0) != (self.bottom > 0):
            raise ValueError(
                f"gamma = {self.gamma} and bottom = {self.bottom} go together; set both above 0, or neither"
            )
        if self.bottom and self.pool <= self.depth:
            raise ValueError(f"the first pool = {self.pool} hits leave none behind the first depth = {self.depth}")
        return self


class Rm3Feedback(_Table):
    """The query's terms, `original_weight` of all, and the `terms` likeliest of its first `depth` passages."""

    kind: Literal["rm3"]
    depth: int = Field(default=10, ge=1)
    terms: int = Field(default=10, ge=1)
    original_weight: float = Field(default=0.5, ge=0, le=1)


class LolFeedback(_Table):
    """The query is revised from its first passages by `model`, a folder that `ragkit train lol` wrote.

    A reformulator of the kinds vector and dense makes the query's vector again, one of the kind sparse its terms.

    depth: how many passages; the model's own limit where that is lower.
    guard: the model chooses for each query by how many passages, at most `depth`, it is revised; perhaps by none.
    """

    kind: Literal["lol"]
    model: str
    depth: int = Field(default=3, ge=1)
    guard: bool = False


FeedbackTable = Annotated[
    NoFeedback | AverageFeedback | RocchioFeedback | Rm3Feedback | LolFeedback, Field(discriminator="kind")
]
OF_TERMS = ("rm3",)


def as_tables(raw: Any) -> Any:
    """A single table is a list of one.

    Raises:
        ValueError: it is neither a table nor a list.
    """
    if not isinstance(raw, dict | BaseModel | list | tuple):
        raise ValueError(f'{raw!r} is no table; write one such as {{kind = "average", depth = 3}}')
    return (raw,) if isinstance(raw, dict | BaseModel) else raw


def check_method(tables: Sequence[FeedbackTable], method: str) -> None:
    """Whether retrieval by this method has what these tables revise.

    What "lol" revises only the folder of its model says.

    Raises:
        ValueError: it has not, or two tables revise the same.
    """
    kinds = [table.kind for table in tables]
    of_terms = [kind for kind in kinds if kind in OF_TERMS]
    of_vectors = [kind for kind in kinds if kind not in (*OF_TERMS, "lol", "none")]
    for same, what in ((of_terms, "terms"), (of_vectors, "vectors")):
        if len(same) > 1:
            raise ValueError(f"feedback of the kinds {' and '.join(same)} would revise {what} twice; keep one")
    if of_terms and method == "dense":
        raise ValueError(
            f"feedback of kind 'rm3' revises terms, and method = {method!r} searches none; "
            "set retrieval.method to 'bm25' or 'hybrid', or take a kind of vectors: average, rocchio"
        )
    if of_vectors and method == "bm25":
        raise ValueError(
            f"feedback of kind {of_vectors[0]!r} revises vectors, and method = {method!r} searches none; "
            "set retrieval.method to 'dense' or 'hybrid', or take the kind of terms: rm3"
        )
