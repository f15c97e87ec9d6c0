"""What pydantic finds wrong with settings, files and requests, in ragkit's words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

_MOST_SHOWN = 100
_SCALARS = (str, int, float, bool, type(None))
_SHOULD_BE = "Input should be "
# What pydantic puts behind a key of an object that is itself at fault.
_KEY = "[key]"


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


def plainest(problems: Sequence[Any], model: object) -> Any:
    """The first of a `ValidationError`'s errors; in a union that of the alternative which was meant.

    model: what was validated. pydantic's own names of alternatives are taken out of the error's place.
    """
    left, done = list(problems), -1
    while behind := [tag for tag in _tags(left[0]["loc"], model) if tag > done]:
        done = behind[0]
        before = left[0]["loc"][:done]
        left = _meant([one for one in left if one["loc"][:done] == before], done)
    location = left[0]["loc"]
    hidden = {*_tags(location, model), *([len(location) - 1] if location[-1:] == (_KEY,) else [])}
    return {**left[0], "loc": tuple(part for place, part in enumerate(location) if place not in hidden)}


def _meant(problems: Sequence[Any], tag: int) -> list[Any]:
    """Errors of the alternative that has the fewest, of those that take such a kind of value; else one for all."""
    groups: dict[object, list[Any]] = {}
    for one in problems:
        groups.setdefault(one["loc"][tag], []).append(one)
    fitting = [group for group in groups.values() if not _is_another_kind(group[0], tag)]
    if fitting:
        return min(fitting, key=len)
    wanted = dict.fromkeys(str(one["msg"]).removeprefix(_SHOULD_BE) for one in problems)
    return [{**problems[0], "msg": _SHOULD_BE + " or ".join(wanted)}]


def _is_another_kind(problem: Any, tag: int) -> bool:
    return len(problem["loc"]) == tag + 1 and problem["type"].endswith("_type")


def _tags(location: Sequence[object], model: object) -> list[int]:
    """Where in a place pydantic names an alternative of a union, instead of a field, an item or a key."""
    found: list[int] = []
    kinds = _alternatives(model)
    for place, part in enumerate(location):
        if len(kinds) > 1 and isinstance(part, str) and found[-1:] != [place - 1]:
            found.append(place)
        else:
            kinds = [one for kind in kinds for inner in _inside(kind, part) for one in _alternatives(inner)]
    return found


def _alternatives(annotation: object) -> list[object]:
    """The members of a union but for None; any other type alone."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _alternatives(parts[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for part in parts if part is not NoneType for one in _alternatives(part)]
    return [annotation]


def _inside(annotation: object, part: object) -> list[object]:
    """The type of a model's field, of a list's items or of an object's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return [] if field is None else [field.annotation]
    return [kind for kind in get_args(annotation) if kind is not Ellipsis][-1:]


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
