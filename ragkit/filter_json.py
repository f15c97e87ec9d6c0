"""Filters as JSON, in the shape of OpenAI's vector stores.

``{"type": "eq|ne|gt|gte|lt|lte|in|nin", "key": …, "value": …}`` and ``{"type": "and|or", "filters": […]}``;
beside them ``{"type": "not", "filter": …}``, which OpenAI's does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from ragkit.errors import FilterError
from ragkit.filters import MOST_NESTED, OPERATORS, And, Comparison, Condition, Not, Or
from ragkit.records import AttributeValue

_FIELDS: dict[str, set[str]] = {
    **{name: {"type", "key", "value"} for name in OPERATORS},
    "and": {"type", "filters"},
    "or": {"type", "filters"},
    "not": {"type", "filter"},
}


def filter_from_json(value: object, place: str = "filters", depth: int = 0) -> Condition:
    """The condition that a decoded JSON value says; `place` is what messages call it.

    Raises:
        FilterError: it is no filter; the message names the place, like filters.filters[1].
    """
    if depth > MOST_NESTED:
        raise FilterError(f"{place}: nested more than {MOST_NESTED} deep")
    if not isinstance(value, Mapping):
        raise FilterError(f"{place}: expected an object with a type, found {value!r:.60}")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise FilterError(f"{place}.type is {kind!r:.60}; known: {', '.join(_FIELDS)}")
    if set(value) != _FIELDS[kind]:
        fields = ", ".join(sorted(_FIELDS[kind]))
        raise FilterError(
            f"{place}: a filter of type {kind!r} has the fields {fields}, found {sorted(value)!r:.200}"
        )
    if kind == "not":
        return Not(filter_from_json(value["filter"], f"{place}.filter", depth + 1))
    if kind in ("and", "or"):
        return _joined(kind, value["filters"], f"{place}.filters", depth)
    return Comparison(value["key"], kind, value["value"], f"{place}: ")  # type: ignore[arg-type]


def filter_to_json(condition: Condition) -> dict[str, object]:
    """The JSON value that `filter_from_json` reads as this condition."""
    match condition:
        case And(conditions):
            return {"type": "and", "filters": [filter_to_json(part) for part in conditions]}
        case Or(conditions):
            return {"type": "or", "filters": [filter_to_json(part) for part in conditions]}
        case Not(negated):
            return {"type": "not", "filter": filter_to_json(negated)}
        case Comparison(name, operator, value):
            shown = [_plain(one) for one in value] if isinstance(value, tuple) else _plain(value)
            return {"type": operator, "key": name, "value": shown}
    raise TypeError(f"{condition!r} is no condition")


def _joined(kind: str, filters: object, place: str, depth: int) -> Condition:
    if not isinstance(filters, list) or not filters:
        raise FilterError(f"{place}: expected a list of at least one filter, found {filters!r:.60}")
    parts = tuple(filter_from_json(part, f"{place}[{i}]", depth + 1) for i, part in enumerate(filters))
    if len(parts) == 1:
        return parts[0]
    return And(parts) if kind == "and" else Or(parts)


def _plain(value: AttributeValue) -> str | int | float | bool:
    return value.isoformat() if isinstance(value, date) else value
