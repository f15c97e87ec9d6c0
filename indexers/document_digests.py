"""What the catalogue says of a document, as one digest: a byte that flips on the disk is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

_QUERIES = (
    "SELECT key, id, title, media_type, num_pages, content_hash, attributes FROM documents"
    " WHERE key BETWEEN ? AND ? ORDER BY key",
    "SELECT document, number, text, words, width_pt, height_pt, text_source FROM pages"
    " WHERE document BETWEEN ? AND ? ORDER BY document, number",
    'SELECT document, key, page, start, "end", kind FROM passages'
    " WHERE document BETWEEN ? AND ? ORDER BY document, key",
    "SELECT document, name, type, value FROM attribute_values"
    " WHERE document BETWEEN ? AND ? ORDER BY document, name, type",
)

Rows = Callable[[str, Sequence[object]], list[Any]]


def digests(rows: Rows, first: int, last: int) -> dict[int, bytes]:
    """Key of each document from `first` to `last` -> SHA-256 of its rows, pages, passages and attribute values.

    Left out is what changes without the document: where its file is, and where its pictures are kept, which have
    hashes of their own.
    """
    hashes: dict[int, Any] = {}
    for query in _QUERIES:
        for key, *columns in rows(query, (first, last)):
            hashes.setdefault(key, hashlib.sha256()).update(repr(columns).encode("utf-8", "surrogatepass"))
    return {key: found.digest() for key, found in hashes.items()}
