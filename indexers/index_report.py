"""What an indexing run tells while it goes on, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragkit.indexers.readers.find_files import Problem


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far an indexing run has come. `stage`: "read", "embed", or "index" (an index is built).

    passages_done: embedded in this run, passages_pending: waiting for it at this moment; they move while texts are
    embedded. pages_done: read and, where pictures are embedded, those of which that is done.
    document_pages_done, document_pages: of the document that is read, or was read last.
    """

    stage: str
    document: str
    documents_done: int
    documents_total: int
    pages_done: int
    passages_done: int
    passages_pending: int
    document_pages_done: int = 0
    document_pages: int = 0


@dataclass(slots=True)
class IndexReport:
    """What an indexing run did; ids of documents, and problems by path with their reason.

    failed: could not be indexed. warnings: indexed, but something about it should be known.
    skipped: of no supported kind. reattributed: of the unchanged ones, those with other attributes than before.
    interrupted: stopped by Ctrl-C; all that is listed is committed.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    reattributed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    num_pages: int = 0
    num_passages: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def changes(self) -> bool:
        """Whether the corpus holds other documents than before."""
        return bool(self.added or self.changed or self.removed)
