"""What pydantic finds wrong with settings, files and requests, in ragkit's words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

_MOST_SHOWN = 100
_SCALARS = (str, int, float, bool, type(None))


def explain(problem: Any, model: object, thing: str = "setting", *, shows_value: bool = True) -> str:
    """One of a `ValidationError`'s errors as a sentence.

    model: the class, or annotation, that was validated: of its fields the one nearest to an unknown one is named.
    thing: what a field is called. shows_value: off where a value may be a secret.
    """
    location = list(problem["loc"])
    name = ".".join(map(str, location))
    if problem["type"] == "extra_forbidden":
        return f"unknown {thing} {name[:_MOST_SHOWN]!r}; {_hint(str(location[-1]), model, location[:-1])}"
    reason, value = _reason(problem), problem.get("input")
    shown = f" = {value!r:.{_MOST_SHOWN}}"
    is_told = problem["type"] == "missing" or (_is_own(problem) and _says(reason, value))
    return f"{name}{'' if is_told or not shows_value else shown}: {reason}".removeprefix(": ")


def known_fields(model: object, location: Sequence[object]) -> list[str]:
    """Names of the fields at a place within a model, sorted; of a union those of all its members."""
    kinds = _models(model)
    for part in location:
        fields = [kind.model_fields[part] for kind in kinds if isinstance(part, str) and part in kind.model_fields]
        # Numbers of items lead no deeper, nor do names of a union's members but for those that say their kind.
        inner = [model for field in fields for model in _models(field.annotation)]
        kinds = inner or _of_kind(kinds, part) or kinds
    return sorted({name for kind in kinds for name in kind.model_fields})


def _of_kind(models: Sequence[type[BaseModel]], name: object) -> list[type[BaseModel]]:
    """Those of a union that a field tells apart by this value."""
    return [
        model
        for model in models
        if any(name in get_args(field.annotation) for field in model.model_fields.values())
    ]


def _hint(given: str, model: object, location: Sequence[object]) -> str:
    known = known_fields(model, location)
    elsewhere = [f"{table}.{given}" for table in known_fields(model, ()) if given in _below(model, table)]
    near = [] if given in known else difflib.get_close_matches(given[:_MOST_SHOWN], known, n=1)
    if elsewhere and not near:
        return f"did you mean {elsewhere[0]!r}?"
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def _below(model: object, table: str) -> list[str]:
    """Fields of a table; none where the name is that of a plain field."""
    found = known_fields(model, (table,))
    return [] if found == known_fields(model, ()) else found


def _reason(problem: Any) -> str:
    return str(problem["ctx"]["error"]) if _is_own(problem) else str(problem["msg"])


def _is_own(problem: Any) -> bool:
    """Whether a validator of ours says what is wrong; pydantic puts its own words before that."""
    return problem["type"] == "value_error" and "error" in problem.get("ctx", {})


def _says(reason: str, value: Any) -> bool:
    return not isinstance(value, _SCALARS) or repr(value) in reason


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models that a type is made of."""
    if parts := get_args(annotation):
        return [model for part in parts for model in _models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
