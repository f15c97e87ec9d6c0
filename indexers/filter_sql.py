"""Filters in SQL, over the JSON attributes of the catalogue's documents; every value is a parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ragkit.attributes import AttributeType, dump_attributes, type_of
from ragkit.filters import And, Comparison, Condition, Not, Or
from ragkit.indexers.catalogue import Catalogue
from ragkit.records import AttributeValue

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# A day in the form YYYY-MM-DD: date() makes March 1st of February 30th, but only where it has to reckon.
_DAY = "'[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'"
_IS_DAY = f"({{0}} GLOB {_DAY} AND {{0}} >= '0001' AND date({{0}}, '+0 days') IS {{0}})"
_KNOWN = f"""
SELECT item.key, CASE item.type WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' WHEN 'text' THEN
    CASE WHEN {_IS_DAY.format("item.value")} THEN 'date' ELSE 'string' END ELSE 'number' END, count(*)
FROM documents, json_each(documents.attributes) AS item GROUP BY 1, 2 ORDER BY 1, 2
"""
_VALUE = "json_extract(attributes, ?)"
_TYPES = "json_type(attributes, ?) IN {}"
_STORED_AS: dict[AttributeType, str] = {
    "string": "('text')",
    "date": "('text')",
    "number": "('integer', 'real')",
    "boolean": "('true', 'false')",
}


def known_attributes(catalogue: Catalogue) -> dict[str, dict[AttributeType, int]]:
    """Name -> type -> number of documents, ordered by name."""
    known: dict[str, dict[AttributeType, int]] = {}
    for name, kind, count in catalogue.rows(_KNOWN):
        known.setdefault(name, {})[kind] = count
    return known


def has_attribute(catalogue: Catalogue, name: str, kind: AttributeType) -> bool:
    """Whether any document has a value of this type under this name; quick where the first documents do."""
    sql, values = _is_of(kind, _path(name))
    return bool(catalogue.rows(f"SELECT 1 FROM documents WHERE {sql} LIMIT 1", values))


def condition_sql(condition: Condition) -> tuple[str, list[object]]:
    """An expression over a row of `documents` that is 1 or 0, and its parameters."""
    if isinstance(condition, Not):
        inner, values = condition_sql(condition.condition)
        return f"NOT {inner}", values
    if isinstance(condition, And | Or):
        parts = [condition_sql(part) for part in condition.conditions]
        sql = (" AND " if isinstance(condition, And) else " OR ").join(part for part, _ in parts)
        return f"({sql})", [value for _, values in parts for value in values]
    assert isinstance(condition, Comparison)
    if condition.operator in _SIGNS:
        return _order_sql(condition)
    alternatives = list(_equality_sql(condition)) or [("FALSE", [])]
    # IS TRUE: a missing attribute makes the comparison NULL, and NOT NULL would be NULL again.
    sql = f"(({' OR '.join(part for part, _ in alternatives)}) IS TRUE)"
    values = [value for _, values in alternatives for value in values]
    return (f"NOT {sql}" if condition.operator in ("ne", "nin") else sql), values


def _equality_sql(comparison: Comparison) -> Iterator[tuple[str, list[object]]]:
    """One expression for each way that the values are stored."""
    path = _path(comparison.name)
    booleans = {value for value in comparison.values if isinstance(value, bool)}
    for value in sorted(booleans):
        yield "json_type(attributes, ?) = ?", [path, json.dumps(value)]
    for types in (("string", "date"), ("number",)):
        values = [value for value in comparison.values if type_of(value) in types]
        if values:
            is_stored_so = _TYPES.format(_STORED_AS[types[0]])
            listed = "[" + ",".join(map(_as_json, values)) + "]"
            yield f"({is_stored_so} AND {_VALUE} IN (SELECT value FROM json_each(?)))", [path, path, listed]


def _order_sql(comparison: Comparison) -> tuple[str, list[object]]:
    path, value = _path(comparison.name), comparison.values[0]
    is_of_kind, values = _is_of(type_of(value), path)
    # The value is read from JSON too, so that both sides went through the same conversion from decimals.
    order = f"{_VALUE} {_SIGNS[comparison.operator]} json_extract(?, '$')"
    return f"(({is_of_kind} AND {order}) IS TRUE)", [*values, path, _as_json(value)]


def _is_of(kind: AttributeType, path: str) -> tuple[str, list[object]]:
    """Whether what is stored at a path is of a type."""
    sql = _TYPES.format(_STORED_AS[kind])
    values: list[object] = [path]
    if kind in ("string", "date"):
        is_day = _IS_DAY.replace("{0}", _VALUE)
        sql += f" AND {is_day}" if kind == "date" else f" AND NOT {is_day}"
        values += [path] * is_day.count("?")
    return sql, values


def _path(name: str) -> str:
    """Names have no quotes or backslashes: `ragkit.attributes.checked_name`."""
    return f'$."{name}"'


def _as_json(value: AttributeValue) -> str:
    """As `dump_attributes` writes it."""
    return dump_attributes({"v": value})[len('{"v": ') : -1]
