"""What of a request's sampling an engine heeds."""

from __future__ import annotations

from dataclasses import fields
from typing import Protocol, runtime_checkable

from ragkit.errors import UnsupportedRequestError
from ragkit.protocols import Engine
from ragkit.records import Sampling


@runtime_checkable
class HeedsSome(Protocol):
    """An engine that heeds some fields of `Sampling` alone: those, and keys of its `extra`, that it names here."""

    @property
    def heeds(self) -> frozenset[str]: ...


def heeds(engine: Engine, field: str) -> bool:
    """Whether the engine heeds a field; engines that say nothing heed all."""
    return not isinstance(engine, HeedsSome) or field in engine.heeds


def wants_json(sampling: Sampling) -> bool:
    """Whether the reply is to be JSON."""
    return sampling.response_format is not None and sampling.response_format.get("type") != "text"


def may_call_tools(sampling: Sampling) -> bool:
    """Whether the reply may be calls of tools."""
    return bool(sampling.tools) and sampling.tool_choice != "none"


def unused_fields(engine: Engine, sampling: Sampling) -> list[str]:
    """Fields that were set and have no effect with this engine.

    Raises:
        UnsupportedRequestError: without its effect a field would make the reply something else than was asked for.
    """
    given = [f.name for f in fields(Sampling) if getattr(sampling, f.name) != f.default and f.name != "extra"]
    if sampling.response_format is not None and not wants_json(sampling):
        given.remove("response_format")
    unused = [name for name in [*given, *(sampling.extra or {})] if not heeds(engine, name)]
    if "response_format" in unused:
        raise UnsupportedRequestError(
            f"the engine {engine.name} cannot be held to JSON: leave out response_format", "response_format"
        )
    if "tools" in unused and sampling.tool_choice not in (None, "auto", "none"):
        raise UnsupportedRequestError(
            f"the engine {engine.name} cannot call tools: leave out tool_choice", "tool_choice"
        )
    return unused
