"""Which embedder makes a corpus's vectors of texts, and which one did before: it can be switched.

manifest.json, written once, names the one that the corpus began with. From the first switch on the catalogue says
it, so that vectors and embedder change in one commit.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.database import unreadable
from ragkit.indexers.manifest import EmbedderFacts, Manifest

_FACT = "text_embedders"


@dataclass(frozen=True, slots=True)
class EmbedderRecord:
    """An embedder of texts as a corpus remembers it.

    settings: its table of the configuration; without a name where it was the user's own object.
    folder: of its files below the corpus; "" where they are not kept there.
    """

    facts: EmbedderFacts
    settings: dict[str, Any]
    folder: str = ""


@dataclass(frozen=True, slots=True)
class TextEmbedders:
    """current: None in a corpus without vectors of texts. former: None where it was never switched."""

    current: EmbedderRecord | None
    former: EmbedderRecord | None = None


def text_embedders(catalogue: Catalogue, made: Manifest) -> TextEmbedders:
    """Those of the state that this thread's reads see. made: what manifest.json says."""
    said = catalogue.remembered(_FACT)
    if not said:
        return TextEmbedders(None if made.embedder is None else _first(catalogue, made.embedder))
    try:
        return TextEmbedders(*(_read(record) for record in json.loads(said)))
    except (ValueError, TypeError, KeyError) as error:
        raise unreadable(catalogue.folder, error) from error


def remember_text_embedders(catalogue: Catalogue, embedders: TextEmbedders) -> None:
    """Inside a transaction."""
    records = (embedders.current, embedders.former)
    catalogue.remember(_FACT, json.dumps([None if record is None else asdict(record) for record in records]))


def is_switched(catalogue: Catalogue) -> bool:
    """Whether the embedder of texts is another than the corpus began with, or was for a time."""
    return bool(catalogue.remembered(_FACT))


def manifest_in_use(catalogue: Catalogue, made: Manifest) -> Manifest:
    """The manifest with the embedder that made the vectors of the state that this thread's reads see."""
    current = text_embedders(catalogue, made).current
    return replace(made, embedder=None if current is None else current.facts)


def _first(catalogue: Catalogue, facts: EmbedderFacts) -> EmbedderRecord:
    settings: Any = catalogue.settings.get("embedder", {})
    return EmbedderRecord(facts, settings)


def _read(record: dict[str, Any] | None) -> EmbedderRecord | None:
    if record is None:
        return None
    return EmbedderRecord(EmbedderFacts(**record["facts"]), record["settings"], record["folder"])
