"""Refusing filters that can only be a mistake in a corpus as it is."""

from __future__ import annotations

from ragkit.attributes import AttributeType
from ragkit.filters import attributes_asked, check_condition
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.filter_sql import has_attribute, has_documents, known_attributes
from ragkit.records import Filter


class FilterCheck:
    """Remembers which attributes were found in the newest state, so that each is looked for once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._seen: tuple[int, set[tuple[str, AttributeType]]] = (-1, set())

    def check(self, where: Filter | None) -> None:
        """Raises FilterError where a filter asks for an attribute or a type that no document has.

        Without documents it does not: whether theirs will have it, nobody can tell.
        """
        if where is None or where.condition is None:
            return
        with self._catalogue.snapshot() as generation:
            if self._seen[0] != generation:
                self._seen = (generation, set())
            seen = self._seen[1]
            for asked in attributes_asked(where.condition) - seen:
                if has_attribute(self._catalogue, *asked):
                    seen.add(asked)
                elif has_documents(self._catalogue):
                    check_condition(where.condition, known_attributes(self._catalogue))
