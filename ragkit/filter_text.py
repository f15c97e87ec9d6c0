"""Filters as text: ``year >= 2022 and (dept in (legal, hr) or not draft = true)``.

Words of the language (and, or, not, in, true, false) are read in any case; "not" binds strongest, then "and".
A value is a number, a day (2024-05-01), true, false, or text: a plain word, or anything in single or double
quotes, with a backslash before a quote or a backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import NoReturn, cast

from ragkit.attributes import NAME, RESERVED
from ragkit.errors import FilterError
from ragkit.filters import MOST_NESTED, And, Comparison, Condition, Not, Operator, Or
from ragkit.records import AttributeValue

_SIGNS: dict[str, Operator] = {
    "=": "eq",
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
}
_SPELLINGS = {name: sign for sign, name in _SIGNS.items() if sign != "=="}
_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?![\w.]))
    |(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.-]))
    |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<word>{NAME.pattern})
    |(?P<sign>[<>=!]=|[<>=(),])
    )""",
    re.X | re.S,
)
_MOST_NUMBER = 400
_ESCAPED = re.compile(r"\\(.)", re.S)


@dataclass(frozen=True, slots=True)
class _Token:
    """A token with its place in the text; the last one is of kind "end"."""

    kind: str
    text: str
    start: int

    @property
    def keyword(self) -> str:
        """The word of the language, or the sign, that it is; else ""."""
        if self.kind == "word":
            return self.text.lower() if self.text.lower() in RESERVED else ""
        return self.text if self.kind == "sign" else ""


def parse_filter(text: str) -> Condition:
    """The condition that a text says.

    Raises:
        FilterError: it is no filter; the message names the character (from 1) and the text around it.
    """
    parser = _Parser(text)
    condition = parser.any_of(0)
    parser.expect_end()
    return condition


def filter_text(condition: Condition) -> str:
    """The text that `parse_filter` reads as this condition."""
    match condition:
        case And(conditions):
            return " and ".join(map(_enclosed, conditions))
        case Or(conditions):
            return " or ".join(map(_enclosed, conditions))
        case Not(negated):
            return f"not {_enclosed(negated)}"
        case Comparison(name, "in" | "nin" as operator):
            word = "in" if operator == "in" else "not in"
            return f"{name} {word} ({', '.join(map(_value_text, condition.values))})"
        case Comparison(name, operator):
            return f"{name} {_SPELLINGS[operator]} {_value_text(condition.values[0])}"
    raise TypeError(f"{condition!r} is no condition")


def _enclosed(condition: Condition) -> str:
    text = filter_text(condition)
    return text if isinstance(condition, Comparison) else f"({text})"


def _value_text(value: AttributeValue) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._tokenize())
        self._next = 0

    def any_of(self, depth: int) -> Condition:
        """Conditions joined by "or"."""
        parts = [self._all_of(depth)]
        while self._take("or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def expect_end(self) -> None:
        """Refuse what stands behind a whole condition."""
        if self._here.kind != "end":
            self._fail("expected 'and', 'or' or the end")

    def _all_of(self, depth: int) -> Condition:
        parts = [self._single(depth)]
        while self._take("and"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _single(self, depth: int) -> Condition:
        if depth > MOST_NESTED:
            self._fail(f"nested more than {MOST_NESTED} deep")
        if self._take("not"):
            return Not(self._single(depth + 1))
        if self._take("("):
            inner = self.any_of(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        name = self._here
        if name.kind != "word" or name.keyword:
            self._fail("expected the name of an attribute")
        self._next += 1
        place = f"{self._place(name.start)}: "
        negated = self._take("not")
        if self._take("in"):
            return Comparison(name.text, "nin" if negated else "in", self._values(), place)
        sign = self._here.keyword
        if negated or sign not in _SIGNS:
            self._fail("expected 'in'" if negated else "expected = != > >= < <= in or not in")
        self._next += 1
        return Comparison(name.text, _SIGNS[sign], self._value(), place)

    def _values(self) -> tuple[AttributeValue, ...]:
        self._expect("(")
        values: list[AttributeValue] = []
        if self._take(")"):
            return ()
        while True:
            values.append(self._value())
            if self._take(")"):
                return tuple(values)
            self._expect(",", "expected ',' or ')'")

    def _value(self) -> AttributeValue:
        token = self._here
        if token.keyword in ("true", "false"):
            value: AttributeValue = token.keyword == "true"
        elif token.kind == "number":
            value = self._number(token)
        elif token.kind == "quoted":
            value = _ESCAPED.sub(r"\1", token.text[1:-1])
        elif token.kind == "word" and not token.keyword:
            value = token.text
        elif token.kind == "date":
            value = self._day(token)
        else:
            self._fail("expected a value")
        self._next += 1
        return value

    def _number(self, token: _Token) -> int | float:
        if len(token.text) > _MOST_NUMBER:
            raise FilterError(f"{self._place(token.start)}: a number longer than {_MOST_NUMBER} characters")
        return int(token.text) if token.text.lstrip("+-").isdigit() else float(token.text)

    def _day(self, token: _Token) -> date:
        try:
            return date.fromisoformat(token.text)
        except ValueError as error:
            raise FilterError(f"{self._place(token.start)}: there is no such day ({error})") from error

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, keyword: str) -> bool:
        taken = self._here.keyword == keyword
        self._next += taken
        return taken

    def _expect(self, keyword: str, message: str = "") -> None:
        if not self._take(keyword):
            self._fail(message or f"expected {keyword!r}")

    def _tokenize(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while position < len(self._text.rstrip()):
            found = _TOKEN.match(self._text, position)
            if found is None:
                start = position + len(self._text[position:]) - len(self._text[position:].lstrip())
                raise FilterError(f"{self._place(start)}: {_unreadable(self._text[start])}")
            kind = cast(str, found.lastgroup)
            tokens.append(_Token(kind, found.group(kind), found.start(kind)))
            position = found.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _fail(self, message: str) -> NoReturn:
        found = "the end" if self._here.kind == "end" else repr(self._here.text)
        raise FilterError(f"{self._place(self._here.start)}: {message}, found {found}")

    def _place(self, start: int) -> str:
        before = "…" if start > 20 else ""
        after = "…" if start + 20 < len(self._text) else ""
        around = self._text[max(0, start - 20) : start + 20]
        return f"filter, character {start + 1} ({before}{around}{after})"


def _unreadable(character: str) -> str:
    if character in "\"'":
        return "the quote is not closed"
    if character.isdigit() or character in "+-.":
        return "neither a number nor a day (YYYY-MM-DD); put text that begins like this in quotes"
    return f"{character!r} has no meaning here"
