"""What callers may say about which documents a search returns, as one `Filter`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ragkit.errors import FilterError
from ragkit.filter_json import filter_from_json
from ragkit.filter_text import parse_filter
from ragkit.filters import Condition
from ragkit.records import Filter

Where = Filter | Condition | str | Mapping[str, object]
"""A condition as an object, as text, or in OpenAI's JSON; or a whole filter."""


def as_filter(where: Where | None, documents: Iterable[str] | None = None) -> Filter | None:
    """The filter that admits what `where` and `documents` both admit; None where neither is given.

    Raises:
        FilterError: `where` is no filter.
    """
    if where is None:
        return None if documents is None else Filter(frozenset(documents))
    if isinstance(where, Filter):
        given = where
    elif isinstance(where, Condition):
        given = Filter(condition=where)
    elif isinstance(where, str):
        given = Filter(condition=parse_filter(where))
    elif isinstance(where, Mapping):
        given = Filter(condition=filter_from_json(where))
    else:
        raise FilterError(f"{where!r:.60} is no filter; give a condition, text, or OpenAI's JSON")
    if documents is None:
        return given
    wanted = frozenset(documents)
    return Filter(wanted if given.documents is None else wanted & given.documents, given.condition)
