"""Replies held against the `openai` package's types: every field required there, of the type said there."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter


def check_shape(kind: Any, value: Any) -> Any:
    """`value`, decoded JSON, as the type `kind`. Raises pydantic's ValidationError where it does not fit.

    The client itself checks nothing: it takes whatever a server sends.
    """
    return _adapter(kind).validate_json(json.dumps(value), strict=True)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
