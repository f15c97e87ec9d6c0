"""Pages of lists, as OpenAI's clients turn them: a cursor is the id of the item before or after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageAsk:
    """The items behind `after`, or the last ones in front of `before`, at most `limit` of them, by time."""

    limit: int = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None

    @property
    def backwards(self) -> bool:
        """Whether the items nearest to the cursor are the last ones of the page."""
        return self.before is not None and self.after is None

    @property
    def descending(self) -> bool:
        """Whether the database reads from the newest on."""
        return (self.order == "desc") != self.backwards

    def condition(self, key: str, after: object, before: object) -> tuple[str, list[object]]:
        """WHERE, ORDER BY and LIMIT over the column `key`: one item more than asked for."""
        up, down = (">", "<") if self.order == "asc" else ("<", ">")
        tests, values = [], []
        for sign, cursor in ((up, after), (down, before)):
            if cursor is not None:
                tests.append(f"{key} {sign} ?")
                values.append(cursor)
        where = " AND ".join(tests) or "1"
        return f"{where} ORDER BY {key} {'DESC' if self.descending else 'ASC'} LIMIT {self.limit + 1}", values


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """A page of a list. has_more: whether there are more in the direction it is read."""

    items: list[T]
    has_more: bool


def paged(found: Sequence[T], ask: PageAsk) -> Paged[T]:
    """The page of what `PageAsk.condition` finds."""
    items = list(found[: ask.limit])
    return Paged(items[::-1] if ask.backwards else items, len(found) > ask.limit)
