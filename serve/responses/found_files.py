"""The files of documents that were found or cited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ragkit.protocols import ServedCorpus
from ragkit.records import AttributeValue
from ragkit.serve.stores.file_ids import file_id_of, files_of
from ragkit.serve.stores.server_stores import ServerStores


@dataclass(frozen=True, slots=True)
class FoundFile:
    """name: as it was uploaded; of a corpus that was not made of uploads the document's id."""

    id: str
    name: str
    attributes: Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Looks files up. stores: None for a server without a folder of its own."""

    stores: ServerStores | None

    def of(
        self, corpus: ServedCorpus, documents: Sequence[str], *, with_attributes: bool = False
    ) -> dict[str, FoundFile]:
        """By document, without those that were taken out of their vector store meanwhile. It reads databases."""
        wanted = list(dict.fromkeys(documents))
        state = None if self.stores is None else self.stores.state
        rows = files_of(state, corpus.name, wanted)
        names = {} if self.stores is None else self.stores.files.names([row.file for row in rows.values()])
        found = {
            document: FoundFile(row.file, names.get(row.file, document), dict(row.attributes))
            for document, row in rows.items()
        }
        others = {
            document: file_id_of(state, corpus.name, document) for document in wanted if document not in rows
        }
        told = _attributes(corpus, others) if with_attributes and any(others.values()) else {}
        return found | {
            document: FoundFile(id_, document, told.get(document, {})) for document, id_ in others.items() if id_
        }


def _attributes(corpus: ServedCorpus, documents: Mapping[str, object]) -> dict[str, Mapping[str, AttributeValue]]:
    """In OpenAI's form, where dates are text."""
    return {
        document.id: {
            name: value if isinstance(value, str | int | float | bool) else value.isoformat()
            for name, value in document.attributes.items()
        }
        for document in corpus.store.documents()
        if document.id in documents
    }
