"""Files and vector stores in the shapes of OpenAI's API, by the `openai` package's own types."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ragkit.extras import require
from ragkit.serve.stores.paging import Paged
from ragkit.serve.stores.rows import BatchRow, FileCounts, FileProgress, FileRow, StoreFileRow, StoreRow

if TYPE_CHECKING:
    from openai import BaseModel

Shape = dict[str, Any]


def file_object(row: FileRow) -> Shape:
    """An uploaded file; it is stored whole before its row is there."""
    whole = require("openai.types").FileObject(
        id=row.id,
        object="file",
        bytes=row.bytes,
        created_at=row.created_at,
        filename=row.filename,
        purpose=row.purpose,
        status="processed",
        **({} if row.expires_at is None else {"expires_at": row.expires_at}),
    )
    return _dumped(whole)


def vector_store(row: StoreRow, counts: FileCounts, usage_bytes: int) -> Shape:
    """A vector store with its files by status."""
    status = "in_progress" if counts.in_progress else "completed"
    expiry: dict[str, Any] = {}
    if row.expires_days is not None:
        expires_after = {"anchor": "last_active_at", "days": row.expires_days}
        expiry = {"expires_after": expires_after, "expires_at": row.expires_at}
    whole = require("openai.types").VectorStore(
        id=row.id,
        object="vector_store",
        created_at=row.created_at,
        name=row.name,
        description=row.description,
        usage_bytes=usage_bytes,
        file_counts=_counts(counts),
        status="expired" if row.is_expired(time.time()) else status,
        last_active_at=row.last_active_at,
        metadata=dict(row.metadata),
        **expiry,
    )
    return _dumped(whole)


def vector_store_file(row: StoreFileRow, store: StoreRow, progress: FileProgress) -> Shape:
    """A file of a vector store. progress: of one whose indexing has not ended.

    `ragkit` holds what OpenAI's shape has no place for: progress, warnings, and the document's name in answers.
    """
    error = None if row.error_code is None else {"code": row.error_code, "message": row.error_message}
    whole = require("openai.types.vector_stores").VectorStoreFile(
        id=row.file,
        object="vector_store.file",
        created_at=row.created_at,
        vector_store_id=row.store,
        usage_bytes=row.usage_bytes,
        status=row.status,
        last_error=error,
        attributes=dict(row.attributes),
        chunking_strategy=_chunking(store),
        ragkit={"document": row.document, **_progress(row, progress), "warnings": list(row.warnings)},
    )
    # As they were given: the type makes floats of all numbers.
    return _dumped(whole) | {"attributes": dict(row.attributes)}


def _progress(row: StoreFileRow, progress: FileProgress) -> Shape:
    if row.status == "in_progress":
        return asdict(progress)
    return {"pages_done": row.pages, "pages": row.pages}


def file_batch(row: BatchRow, counts: FileCounts) -> Shape:
    """A batch; it is in progress as long as one of its files is."""
    status = "cancelled" if row.cancelled else "completed"
    if not row.cancelled and counts.total and counts.failed == counts.total:
        status = "failed"
    whole = require("openai.types.vector_stores").VectorStoreFileBatch(
        id=row.id,
        object="vector_store.files_batch",
        created_at=row.created_at,
        vector_store_id=row.store,
        status="in_progress" if counts.in_progress else status,
        file_counts=_counts(counts),
    )
    return _dumped(whole)


def page_of(items: Paged[Any], data: Sequence[Shape]) -> Shape:
    """A page of a list, as `SyncCursorPage` reads it."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": items.has_more,
    }


def deleted(id_: str, kind: str) -> Shape:
    """What is said of something that is deleted now."""
    return {"id": id_, "object": kind, "deleted": True}


def _counts(counts: FileCounts) -> dict[str, int]:
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }


def _chunking(store: StoreRow) -> dict[str, Any]:
    """As it was asked for; "other" where it is the server's own."""
    if store.max_tokens is None:
        return {"type": "other"}
    sizes = {"max_chunk_size_tokens": store.max_tokens, "chunk_overlap_tokens": store.overlap_tokens}
    return {"type": "static", "static": sizes}


def _dumped(shape: BaseModel) -> Shape:
    return shape.model_dump(exclude_unset=True)
