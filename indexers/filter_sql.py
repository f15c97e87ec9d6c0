"""Filters in SQL, over the catalogue's table of attribute values; every value is a parameter."""

from __future__ import annotations

from collections.abc import Iterator

from ragkit.attributes import ATTRIBUTE_TYPES, AttributeType, dump_attributes, type_of
from ragkit.filters import And, Comparison, Condition, Not, Or
from ragkit.indexers.catalogue import Catalogue
from ragkit.records import AttributeValue

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_KNOWN = "SELECT name, type, count(*) FROM attribute_values GROUP BY name, type ORDER BY name, type"
_DOCUMENTS = "SELECT document FROM attribute_values WHERE name = ? AND type = ? AND value {}"
# Values of a filter are read from JSON, so that both sides went through the same conversion from decimals.
_VALUE = "json_extract(?, '$')"
_LISTED = "IN (SELECT value FROM json_each(?))"


def known_attributes(catalogue: Catalogue) -> dict[str, dict[AttributeType, int]]:
    """Name -> type -> number of documents, ordered by name."""
    known: dict[str, dict[AttributeType, int]] = {}
    for name, kind, count in catalogue.rows(_KNOWN):
        known.setdefault(name, {})[kind] = count
    return known


def has_attribute(catalogue: Catalogue, name: str, kind: AttributeType) -> bool:
    """Whether any document has a value of this type under this name."""
    return bool(catalogue.rows("SELECT 1 FROM attribute_values WHERE name = ? AND type = ? LIMIT 1", (name, kind)))


def has_documents(catalogue: Catalogue) -> bool:
    """Whether there is any."""
    return bool(catalogue.rows("SELECT 1 FROM documents LIMIT 1"))


def documents_sql(condition: Condition) -> tuple[str, list[object]]:
    """A query for the keys of the documents that a condition admits, and its parameters."""
    # Each comparison is a table of its own: SQLite's parser has no room for deep conditions of long expressions.
    tables: list[tuple[str, list[object]]] = []
    where = _expression(condition, tables)
    named = ", ".join(f"c{i} AS ({_DOCUMENTS.format(test)})" for i, (test, _) in enumerate(tables))
    values = [value for _, values in tables for value in values]
    return f"{'WITH ' if tables else ''}{named} SELECT key FROM documents WHERE {where}", values


def _expression(condition: Condition, tables: list[tuple[str, list[object]]]) -> str:
    """An expression over a row of `documents`; the tables that it names are appended."""
    if isinstance(condition, Not):
        return f"NOT {_expression(condition.condition, tables)}"
    if isinstance(condition, And | Or):
        parts = [_expression(part, tables) for part in condition.conditions]
        return f"({(' AND ' if isinstance(condition, And) else ' OR ').join(parts)})"
    assert isinstance(condition, Comparison)
    first = len(tables)
    tables += _tests(condition)
    sql = " OR ".join(f"key IN c{i}" for i in range(first, len(tables))) or "FALSE"
    return f"NOT ({sql})" if condition.operator in ("ne", "nin") else f"({sql})"


def _tests(comparison: Comparison) -> Iterator[tuple[str, list[object]]]:
    """What is asked of a value, for each type among those that it is compared with; and the parameters."""
    if comparison.operator in _SIGNS:
        value = comparison.values[0]
        sign = f"{_SIGNS[comparison.operator]} {_VALUE}"
        yield sign, [comparison.name, type_of(value), _as_json(value)]
        return
    for kind in ATTRIBUTE_TYPES:
        values = [value for value in comparison.values if type_of(value) == kind]
        if values:
            listed = "[" + ",".join(map(_as_json, values)) + "]"
            yield _LISTED, [comparison.name, kind, listed]


def _as_json(value: AttributeValue) -> str:
    """As `dump_attributes` writes it."""
    return dump_attributes({"v": value})[len('{"v": ') : -1]
