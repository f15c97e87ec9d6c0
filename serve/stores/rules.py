"""What clients may say of files and vector stores: OpenAI's limits, and why something is refused."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from ragkit.attributes import checked_name, checked_value

_MOST_KEYS = 16
_MOST_TEXT = 512
_MOST_KEY = 64
MOST_FILES = 2000
"""Files of one batch."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _stored_text(text: str) -> str:
    """Raises ValueError for what no database can hold."""
    if "\0" in text or text.encode("utf-8", "ignore").decode() != text:
        raise ValueError("it holds a NUL or half of a character, which is no text")
    return text


Text = Annotated[StrictStr, AfterValidator(_stored_text)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _metadata(given: dict[str, str] | None) -> dict[str, str] | None:
    for key, value in (given or {}).items():
        if len(key) > _MOST_KEY or len(value) > _MOST_TEXT:
            raise ValueError(f"{key[:80]!r}: a key has at most {_MOST_KEY} characters, a value {_MOST_TEXT}")
    return given


def _attributes(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """The values as they were given, where ragkit can store them and filter by them."""
    for key, value in (given or {}).items():
        checked_name(key)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} = {value} is no finite number")
        if isinstance(value, str) and len(value) > _MOST_TEXT:
            raise ValueError(f"{key} has {len(value)} characters; at most {_MOST_TEXT} are allowed")
        if not isinstance(value, str | int | float | bool):
            raise ValueError(f"{key} is {value!r:.60}; give a string, a number, true or false")
        checked_value(key, value)
    return given


Metadata = Annotated[dict[Text, Text], Field(max_length=_MOST_KEYS)]
CheckedMetadata = Annotated[Metadata | None, AfterValidator(_metadata)]
CheckedAttributes = Annotated[
    Annotated[dict[Text, Any], Field(max_length=_MOST_KEYS)] | None, AfterValidator(_attributes)
]


class ChunkSizes(_Body):
    """How long passages are, in the embedder's tokens."""

    max_chunk_size_tokens: Annotated[StrictInt, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[StrictInt, Field(ge=0)]

    @model_validator(mode="after")
    def _half(self) -> ChunkSizes:
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens / 2:
            raise ValueError(
                f"chunk_overlap_tokens = {self.chunk_overlap_tokens} is more than half of "
                f"max_chunk_size_tokens = {self.max_chunk_size_tokens}"
            )
        return self


class Chunking(_Body):
    """ "auto": as the server is configured."""

    type: Literal["auto", "static"]
    static: ChunkSizes | None = None

    @model_validator(mode="after")
    def _complete(self) -> Chunking:
        if (self.type == "static") != (self.static is not None):
            raise ValueError("'static' stands beside type 'static', and only there")
        return self


class ExpiresAfter(_Body):
    """When a vector store that nobody uses is over."""

    anchor: Literal["last_active_at"]
    days: Annotated[StrictInt, Field(ge=1, le=365)]


class CreateStore(_Body):
    """Body of POST /v1/vector_stores."""

    name: Text | None = Field(default=None, max_length=256)
    description: Text | None = Field(default=None, max_length=4096)
    file_ids: list[Text] | None = Field(default=None, max_length=MOST_FILES)
    chunking_strategy: Chunking | None = None
    expires_after: ExpiresAfter | None = None
    metadata: CheckedMetadata = None


class UpdateStore(_Body):
    """Body of POST /v1/vector_stores/{id}: what is not said stays; null takes it away."""

    name: Text | None = Field(default=None, max_length=256)
    expires_after: ExpiresAfter | None = None
    metadata: CheckedMetadata = None


class AttachFile(_Body):
    """Body of POST /v1/vector_stores/{id}/files, and a file of a batch."""

    file_id: Text
    attributes: CheckedAttributes = None
    chunking_strategy: Chunking | None = None


class AttachBatch(_Body):
    """Body of POST /v1/vector_stores/{id}/file_batches: ids with attributes for all, or files with their own."""

    file_ids: list[Text] | None = Field(default=None, max_length=MOST_FILES)
    files: list[AttachFile] | None = Field(default=None, max_length=MOST_FILES)
    attributes: CheckedAttributes = None
    chunking_strategy: Chunking | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> AttachBatch:
        if bool(self.file_ids) == bool(self.files):
            raise ValueError("give either file_ids or files, with at least one file")
        return self

    @property
    def all_files(self) -> list[AttachFile]:
        """Each file with what holds for it."""
        if self.files:
            return self.files
        return [
            AttachFile(file_id=id_, attributes=self.attributes, chunking_strategy=self.chunking_strategy)
            for id_ in self.file_ids or ()
        ]


class UpdateAttributes(_Body):
    """Body of POST /v1/vector_stores/{id}/files/{file}."""

    attributes: CheckedAttributes


class HybridWeights(_Body):
    """How much vectors and words count; the server's configuration says it here."""

    embedding_weight: _Number | None = None
    text_weight: _Number | None = None


class RankingOptions(_Body):
    """What of the hits is returned, here and by the tool file_search.

    score_threshold: on the scale of the corpus, which has a ranker and weights of its own.
    """

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: _Number | None = None
    hybrid_search: HybridWeights | None = None

    @property
    def unheeded(self) -> list[str]:
        """Fields that were set, would change what is found, and do not here."""
        asks = {"ranker": self.ranker not in (None, "auto"), "hybrid_search": self.hybrid_search is not None}
        return [f"ranking_options.{name}" for name, is_asked in asks.items() if is_asked]


class SearchStore(_Body):
    """Body of POST /v1/vector_stores/{id}/search. filters: OpenAI's JSON, or ragkit's text."""

    query: Text | Annotated[list[Text], Field(min_length=1, max_length=32)]
    filters: dict[str, Any] | Text | None = None
    max_num_results: Annotated[StrictInt, Field(ge=1, le=50)] = 10
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False

    @property
    def queries(self) -> list[str]:
        """At least one."""
        return [self.query] if isinstance(self.query, str) else self.query
