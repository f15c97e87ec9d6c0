"""Which file a document of a corpus is: what search results and file citations name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from ragkit.serve.stores.ids import FILE
from ragkit.serve.stores.rows import StoreFileRow
from ragkit.serve.stores.state import STORE_FILE_COLUMNS, ServerState, store_file_row


def file_id_of(state: ServerState | None, corpus: str, document: str) -> str | None:
    """The id of the file that became a document; None where it was taken out of the vector store meanwhile.

    A corpus that is no vector store of the server's has no uploaded files: its documents get ids that follow
    from their names.

    Args:
        state: None for a server without a folder of its own.
        corpus: the corpus's own name: for a vector store its id.
    """
    row = files_of(state, corpus, [document]).get(document)
    if row is not None:
        return row.file
    return None if _is_store(state, corpus) else external_file_id(corpus, document)


def external_file_id(corpus: str, document: str) -> str:
    """The id of a document of a corpus that was not made of uploaded files."""
    name = f"{corpus}\0{document}".encode("utf-8", "surrogatepass")
    return f"{FILE}x{hashlib.sha256(name).hexdigest()[:23]}"


def files_of(state: ServerState | None, store: str, documents: Sequence[str]) -> Mapping[str, StoreFileRow]:
    """Document -> file of a vector store, of those documents that are in it."""
    if state is None or not documents:
        return {}
    found: dict[str, StoreFileRow] = {}
    wanted = list(dict.fromkeys(documents))
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        marks = ", ".join("?" * len(part))
        query = f"SELECT {STORE_FILE_COLUMNS} FROM store_files WHERE store = ? AND document IN ({marks})"
        for row in map(store_file_row, state.rows(query, [store, *part])):
            found[row.document] = row
    return found


def _is_store(state: ServerState | None, corpus: str) -> bool:
    return state is not None and bool(state.rows("SELECT 1 FROM stores WHERE id = ?", [corpus]))
