"""Fields of a request that are not read: which may stand there, and which are mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ragkit.serve.api.http_errors import HttpProblem

# Fields of OpenAI's API that do not change what an answer says.
HARMLESS = frozenset(
    {
        "metadata",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)


def check_extra(
    extra: Mapping[str, Any],
    read: Collection[str],
    neutral: Mapping[str, tuple[Any, ...]],
    harmless: Collection[str] = HARMLESS,
) -> None:
    """Judge the fields that are not `read`.

    neutral: fields that would change the answer and are not supported, with the values that change nothing.

    Raises:
        HttpProblem: 400, naming the field; for one that nobody knows also the nearest that is known.
    """
    for name, value in extra.items():
        if name in neutral:
            if value not in neutral[name]:
                raise HttpProblem(400, f"{name} = {value!r:.200} is not supported", param=name)
        elif name not in harmless:
            near = difflib.get_close_matches(name[:100], [*read, *neutral, *harmless], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise HttpProblem(
                400, f"unknown field {name!r:.120}{hint}", param=name[:120], code="unknown_parameter"
            )
