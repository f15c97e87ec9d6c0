"""Conditions on documents' attributes: the one parsed form behind the three spellings of a filter.

Every condition is true or false of every document. A comparison with an attribute that a document does not have,
or has in another type, is false; "ne" and "nin" are the negations of "eq" and "in", so there they are true.
Text is ordered by code point, dates by time; booleans have no order.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ragkit.attributes import AttributeType, KnownAttributes, checked_name, checked_value, describe, type_of
from ragkit.errors import FilterError
from ragkit.records import AttributeValue

Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
# SQLite takes expressions up to a depth of 1000.
MOST_NESTED = 50
_MOST_COMPARISONS = 256


class Condition:
    """What a filter asks of a document's attributes; combine them with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: Condition) -> And:
        return And((*(self.conditions if isinstance(self, And) else (self,)), other))

    def __or__(self, other: Condition) -> Or:
        return Or((*(self.conditions if isinstance(self, Or) else (self,)), other))

    def __invert__(self) -> Not:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError("a condition is neither true nor false by itself; combine conditions with &, | and ~")


@dataclass(frozen=True, slots=True)
class Comparison(Condition):
    """One attribute compared with a value, or with the values of a tuple ("in", "nin").

    place: where it stands in what was parsed, for messages.
    """

    name: str
    operator: Operator
    value: AttributeValue | tuple[AttributeValue, ...]
    place: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raises FilterError where the comparison makes no sense for any document."""
        try:
            object.__setattr__(self, "value", self._checked())
        except ValueError as error:
            raise FilterError(f"{self.place}{error}") from error

    def _checked(self) -> AttributeValue | tuple[AttributeValue, ...]:
        checked_name(self.name)
        if self.operator not in OPERATORS:
            raise ValueError(f"{self.operator!r} is no operator; known: {', '.join(OPERATORS)}")
        if self.operator in ("in", "nin"):
            if not isinstance(self.value, list | tuple | set | frozenset):
                raise ValueError(f"{self.name}: {self.operator!r} needs a list of values, not {self.value!r:.60}")
            return tuple(checked_value(self.name, value) for value in self.value)
        value = checked_value(self.name, self.value)
        if self.operator in _ORDER and isinstance(value, bool):
            raise ValueError(f"{self.name} cannot be ordered by {value!r}: booleans are equal or not")
        return value

    @property
    def values(self) -> tuple[AttributeValue, ...]:
        """All values that it compares with."""
        return self.value if isinstance(self.value, tuple) else (self.value,)


@dataclass(frozen=True, slots=True)
class And(Condition):
    """True where all conditions are."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _check_several(self, self.conditions)


@dataclass(frozen=True, slots=True)
class Or(Condition):
    """True where at least one condition is."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _check_several(self, self.conditions)


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """True where the condition is false."""

    condition: Condition

    def __post_init__(self) -> None:
        _check_several(self, (self.condition,))


class Attribute:
    """An attribute's name on the left of a comparison; see `attribute`."""

    __slots__ = ("_name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self._name = name

    def __eq__(self, value: object) -> Comparison:  # type: ignore[override]
        return Comparison(self._name, "eq", value)  # type: ignore[arg-type]

    def __ne__(self, value: object) -> Comparison:  # type: ignore[override]
        return Comparison(self._name, "ne", value)  # type: ignore[arg-type]

    def __gt__(self, value: AttributeValue) -> Comparison:
        return Comparison(self._name, "gt", value)

    def __ge__(self, value: AttributeValue) -> Comparison:
        return Comparison(self._name, "gte", value)

    def __lt__(self, value: AttributeValue) -> Comparison:
        return Comparison(self._name, "lt", value)

    def __le__(self, value: AttributeValue) -> Comparison:
        return Comparison(self._name, "lte", value)

    def is_in(self, values: Iterable[AttributeValue]) -> Comparison:
        """Equal to one of the values."""
        return Comparison(self._name, "in", tuple(values))

    def not_in(self, values: Iterable[AttributeValue]) -> Comparison:
        """Equal to none of the values, or not there."""
        return Comparison(self._name, "nin", tuple(values))


def attribute(name: str) -> Attribute:
    """An attribute to compare: ``(attribute("year") >= 2022) & attribute("dept").is_in(["legal", "hr"])``."""
    return Attribute(name)


def matches(condition: Condition, attributes: Mapping[str, AttributeValue]) -> bool:
    """Whether a condition is true of a document's attributes."""
    match condition:
        case And(conditions):
            return all(matches(part, attributes) for part in conditions)
        case Or(conditions):
            return any(matches(part, attributes) for part in conditions)
        case Not(negated):
            return not matches(negated, attributes)
        case Comparison(operator="ne" | "nin"):
            return not _equals_one(condition, attributes)
        case Comparison(operator="eq" | "in"):
            return _equals_one(condition, attributes)
        case Comparison(name, order, value):
            found = attributes.get(name)
            comparable = found is not None and type_of(found) == type_of(value)  # type: ignore[arg-type]
            return comparable and _ORDER[order](found, value)
    raise TypeError(f"{condition!r} is no condition")


def comparisons_of(condition: Condition, depth: int = 0) -> Iterator[Comparison]:
    """All comparisons of a condition, in the order written. Raises FilterError where it is nested too deep."""
    if depth > MOST_NESTED:
        raise FilterError(f"the filter is nested more than {MOST_NESTED} deep")
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, And | Or):
        for part in condition.conditions:
            yield from comparisons_of(part, depth + 1)
    elif isinstance(condition, Not):
        yield from comparisons_of(condition.condition, depth + 1)


def attributes_asked(condition: Condition) -> set[tuple[str, AttributeType]]:
    """Name and type of every value that it compares with. Raises FilterError where it is too large."""
    return {(asked.name, type_of(value)) for asked in _limited(condition) for value in asked.values}


def _limited(condition: Condition) -> list[Comparison]:
    comparisons = list(comparisons_of(condition))
    if len(comparisons) > _MOST_COMPARISONS:
        raise FilterError(
            f"the filter has {len(comparisons)} comparisons; {_MOST_COMPARISONS} are allowed: use 'in'"
        )
    return comparisons


def check_condition(condition: Condition, known: KnownAttributes) -> None:
    """Refuse what can only be a mistake among documents with these attributes.

    Raises:
        FilterError: an attribute that no document has, a value of a type that it never has, or too large a filter.
    """
    for comparison in _limited(condition):
        name, place = comparison.name, comparison.place
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise FilterError(f"{place}no document has the attribute {name!r}{hint}; {describe(known)}")
        for value in comparison.values:
            if type_of(value) not in known[name]:
                raise FilterError(
                    f"{place}{name} is compared with the {type_of(value)} {str(value)!r:.60}, but is a "
                    f"{' or '.join(sorted(known[name]))} in every document; {describe(known)}"
                )


def _equals_one(comparison: Comparison, attributes: Mapping[str, AttributeValue]) -> bool:
    found = attributes.get(comparison.name)
    if found is None:
        return False
    return any(type_of(found) == type_of(value) and found == value for value in comparison.values)


def _check_several(whole: Condition, parts: tuple[Condition, ...]) -> None:
    if not parts:
        raise FilterError(f"{type(whole).__name__.lower()} needs at least one condition")
    for part in parts:
        if not isinstance(part, Condition):
            raise FilterError(f"{part!r:.60} is no condition")
