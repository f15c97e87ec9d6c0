"""Passages that say what another says already, or what a question of a test asks for.

Texts are compared as in CADET (Tamber et al. 2025, arXiv 2502.19712): in small letters, without accents, digits
and punctuation, each with its neighbours in the order of the alphabet, read forwards and backwards. Unlike there,
spaces do not count, and all that begins or ends with a text is found, not only among the neighbours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ragkit.retrievers.training.examples import TrainingPassage

MIN_CHARACTERS = 10
_NEIGHBOURS = 10
# First letters of Unicode's categories: of digits and other numbers, of punctuation, of symbols.
_LEFT_OUT = ("N", "P", "S")


@dataclass(frozen=True, slots=True)
class DistinctPassages:
    """What is left, in the order in which it came, and how many were left out why.

    held_out: named as such, or near duplicates of these. short: under 10 characters as they are compared.
    repeated: near duplicates of another one that is not held out.
    """

    passages: tuple[TrainingPassage, ...]
    held_out: int = 0
    short: int = 0
    repeated: int = 0


def distinct_passages(
    passages: Sequence[TrainingPassage], held_out: Collection[str] = frozenset()
) -> DistinctPassages:
    """Leave out near duplicates, and passages held out with all near duplicates of these.

    A passage that is contained in a neighbour is a near duplicate of it; of equal ones the first stays.

    Args:
        held_out: ids of passages that nothing may be trained on, such as those relevant to a test's questions.
    """
    out = {passage.id for passage in passages if passage.id in held_out}
    groups: dict[str, list[TrainingPassage]] = {}
    short = 0
    for passage in passages:
        text = normalised(passage.text)
        if len(text) >= MIN_CHARACTERS:
            # Hyphens and line ends part words in one copy that are one word in another.
            groups.setdefault(text.replace(" ", ""), []).append(passage)
        else:
            short += passage.id not in out
    texts = list(groups)
    near = _near(texts, [any(passage.id in out for passage in group) for group in groups.values()])
    for text in near.held_out:
        out.update(passage.id for passage in groups[text])
    stay = {groups[text][0].id for text in texts if text not in near.held_out and text not in near.repeated}
    left = tuple(passage for passage in passages if passage.id in stay)
    return DistinctPassages(left, len(out), short, len(passages) - len(left) - len(out) - short)


def normalised(text: str) -> str:
    """In small letters, without accents, digits, punctuation and symbols, one space between words."""
    letters = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    return " ".join(letters.translate(_BARE).lower().split())


class _Bare(dict[int, int | None]):
    """For `str.translate`: each character as it is, or nothing; worked out when it is first met."""

    def __missing__(self, code: int) -> int | None:
        sign = chr(code)
        leaves = unicodedata.combining(sign) or unicodedata.category(sign)[0] in _LEFT_OUT
        self[code] = None if leaves else code
        return self[code]


_BARE = _Bare()


@dataclass(frozen=True, slots=True)
class _Near:
    held_out: frozenset[str]
    repeated: frozenset[str]


def _near(texts: Sequence[str], is_held_out: Sequence[bool]) -> _Near:
    marked = {text for text, is_out in zip(texts, is_held_out, strict=True) if is_out}
    pairs = list(_contained(texts))
    held_out = marked | {outer for inner, outer in pairs if inner in marked}
    held_out |= {inner for inner, outer in pairs if outer in marked}
    # What is left out says nothing, so what it says may be said by a part of it.
    repeated = {inner for inner, outer in pairs if outer not in held_out}
    return _Near(frozenset(held_out), frozenset(repeated))


def _contained(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of different texts of which the first is a part of the second.

    All pairs of which the first begins or ends the second, however many there are, and those of other parts among
    neighbours.
    """
    for turn in (slice(None), slice(None, None, -1)):
        turned = sorted(text[turn] for text in texts)
        for place, inner in enumerate(turned):
            for other in range(place + 1, len(turned)):
                outer = turned[other]
                if other - place > _NEIGHBOURS and not outer.startswith(inner):
                    break
                if inner in outer:
                    yield inner[turn], outer[turn]
