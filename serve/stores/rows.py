"""What the server remembers of files, stores and the work on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FileStatus = Literal["in_progress", "completed", "cancelled", "failed"]
ErrorCode = Literal["server_error", "unsupported_file", "invalid_file"]
JobKind = Literal["add", "attributes", "remove"]
IndexStage = Literal["waiting", "reading", "embedding", "writing"]
ApiAttributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class FileRow:
    """An uploaded file. Times are seconds since 1970."""

    id: str
    filename: str
    bytes: int
    purpose: str
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class StoreRow:
    """A vector store. max_tokens, overlap_tokens: of its passages; None: as the server is configured."""

    id: str
    name: str
    description: str
    created_at: int
    last_active_at: int
    metadata: Mapping[str, str]
    expires_days: int | None = None
    max_tokens: int | None = None
    overlap_tokens: int | None = None
    dropped: bool = False

    @property
    def expires_at(self) -> int | None:
        """When it expires unless it is used before."""
        return None if self.expires_days is None else self.last_active_at + self.expires_days * 86_400

    def is_expired(self, now: float) -> bool:
        """Whether it is over with the store, be its corpus deleted yet or not."""
        return self.dropped or (self.expires_at is not None and now >= self.expires_at)


@dataclass(frozen=True, slots=True)
class StoreFileRow:
    """A file of a store. seq: its place in the order of attaching. document: its id in the store's corpus.

    pages: how many it has, once it was read. warnings: what should be known of its reading.
    """

    seq: int
    store: str
    file: str
    document: str
    created_at: int
    attributes: ApiAttributes
    status: FileStatus
    error_code: ErrorCode | None = None
    error_message: str = ""
    usage_bytes: int = 0
    pages: int = 0
    warnings: tuple[str, ...] = ()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far the indexing of a file has come.

    pages: read; 0 until it is known how many there are. passages: embedded, texts or pictures of pages, while the
    stage is "embedding".
    """

    stage: IndexStage = "waiting"
    pages_done: int = 0
    pages: int = 0
    passages_done: int = 0
    passages: int = 0


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Files that were attached together."""

    id: str
    store: str
    created_at: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class FileCounts:
    """Files of a store or batch by status."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work on a store's corpus, which outlives the server. document: its id there."""

    seq: int
    store: str
    kind: JobKind
    file: str
    document: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work on a file ended."""

    status: FileStatus
    error_code: ErrorCode | None = None
    error_message: str = ""
    pages: int = 0
    warnings: tuple[str, ...] = field(default=())
