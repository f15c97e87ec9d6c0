"""Attributes of documents: what a value may be, and how it is stored.

A value is a string, a number, a boolean or a date. Its type is decided by its form alone, the same through
every door: a string that is a day in the form YYYY-MM-DD is a date. Attributes are stored as one JSON object
with dates as such strings, whose order as text is their order in time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Literal, get_args

from ragkit.errors import CorpusDamagedError
from ragkit.records import AttributeValue

AttributeType = Literal["string", "number", "boolean", "date"]
ATTRIBUTE_TYPES: tuple[AttributeType, ...] = get_args(AttributeType)
KnownAttributes = Mapping[str, Mapping[AttributeType, int]]
"""Name -> type -> number of documents that have a value of this type under this name."""

# Words of the filter language, which no attribute can be called.
RESERVED = frozenset({"and", "or", "not", "in", "true", "false"})
NAME = re.compile(r"[^\W\d][\w.-]*")
_MOST_NAME = 64
_MOST_TEXT = 4096
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGERS = range(-(2**63), 2**63)
_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")


def checked_attributes(attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """The attributes with every value in its own type.

    Raises:
        ValueError: a name or a value that cannot be stored; the message is the reason.
    """
    return {checked_name(name): checked_value(name, value) for name, value in attributes.items()}


def checked_name(name: object) -> str:
    """Raises ValueError where this can be no attribute's name."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > _MOST_NAME:
        raise ValueError(
            f"{name!r:.100} cannot name an attribute; use at most {_MOST_NAME} letters, digits and _ . - "
            "beginning with a letter"
        )
    if name.lower() in RESERVED:
        raise ValueError(f"{name!r} cannot name an attribute: it is a word of the filter language")
    return name


def checked_value(name: str, value: object) -> AttributeValue:
    """The value in its own type. Raises ValueError where it has none."""
    if isinstance(value, str):
        if len(value) > _MOST_TEXT or _UNSTORABLE.search(value):
            raise ValueError(
                f"{name} is {value!r:.60}: text may have {_MOST_TEXT} characters, no NUL, no surrogates"
            )
        return _day(value) or value
    if isinstance(value, bool) or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise ValueError(f"{name} is an integer of more than 64 bits; give it as text or as a float")
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(
        f"{name} is {value!r:.60} ({type(value).__name__}); give a string, a finite number, true or false, "
        "or a date (YYYY-MM-DD, without time)"
    )


def type_of(value: AttributeValue) -> AttributeType:
    """The type of a checked value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "date" if isinstance(value, date) else "string"


def dump_attributes(attributes: Mapping[str, AttributeValue]) -> str:
    """Checked attributes as they are stored. Names stay unescaped: SQLite compares them as they are written."""
    return json.dumps(dict(attributes), sort_keys=True, ensure_ascii=False, default=date.isoformat)


def load_attributes(stored: str) -> dict[str, AttributeValue]:
    """What `dump_attributes` stored. Raises CorpusDamagedError where it cannot be that."""
    try:
        values: dict[str, AttributeValue] = dict(json.loads(stored))
    except (ValueError, TypeError) as error:
        raise CorpusDamagedError(
            f"stored attributes {stored!r:.80} are damaged ({error}); run ragkit verify"
        ) from error
    return {name: (_day(value) or value) if isinstance(value, str) else value for name, value in values.items()}


def describe(known: KnownAttributes) -> str:
    """Names and types for a message."""
    if not known:
        return "no document here has attributes"
    listed = [f"{name} ({' or '.join(sorted(types))})" for name, types in sorted(known.items())]
    more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
    return f"known attributes: {', '.join(listed[:20])}{more}"


def _day(text: str) -> date | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
