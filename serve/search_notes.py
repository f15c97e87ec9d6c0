"""What to know of a search: that there was nothing to search, or that the question was not read whole."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.protocols import Embedder, PassageStore, Tokenizer
from ragkit.records import Hit


def search_notes(
    text: str,
    hits: Sequence[Hit],
    store: PassageStore,
    embedder: Embedder | None = None,
    name: str = "This corpus",
) -> tuple[str, ...]:
    """Plain sentences for the answer's notes.

    embedder: that of texts whose vectors were searched; None where none were. Of one that does not show its
    tokenizer it is not known how much it reads. name: what the corpus is called in a note.
    """
    if not hits and not len(store.keys()):
        return (_nothing_there(store, name),)
    return _unread(text, embedder) if isinstance(embedder, Tokenizer) else ()


def _unread(text: str, embedder: Tokenizer) -> tuple[str, ...]:
    most = embedder.max_tokens
    if text.isascii() and 2 * len(text) < most:
        # At most a token a character, and one for a space that some models put before a piece.
        return ()
    spans = embedder.token_spans([text])[0]
    if len(spans) <= most:
        return ()
    read = int(spans[most - 1, 1]) if most > 0 else 0
    return (
        f"What was searched for has {len(spans)} tokens, and the embedder reads {most} at once: the vector is "
        f"that of its first {read} characters or so.",
    )


def _nothing_there(store: PassageStore, name: str) -> str:
    if number := len(store.documents()):
        held = "1 document, and it has" if number == 1 else f"{number} documents, and they have"
        return f"{name} holds {held} no text or picture to search."
    return f"{name} holds no documents, or none that is indexed yet, so that there was nothing to search."
