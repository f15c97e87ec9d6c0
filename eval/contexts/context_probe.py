"""The hard-negative probe: gold passages among k passages, none of the others holding the answer.

Algorithm 1 of "Long-Context LLMs Meet RAG", Jin, Yoon, Han and Arik, ICLR 2025 (arXiv 2410.05983).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ragkit.errors import ConfigError
from ragkit.eval.measures.answer_metrics import containment
from ragkit.eval.sets.context_sets import ContextPassage, ContextQuestion

Negatives = Literal["set", "counterfactual", "random", "bm25", "dense"]
ContextOrder = Literal["rank", "ends", "reverse", "document", "shuffle"]
NEGATIVES: tuple[str, ...] = get_args(Negatives)
ORDERS: tuple[str, ...] = get_args(ContextOrder)


@dataclass(frozen=True, slots=True)
class Cell:
    """What questions are asked under: k passages in an order, or with the gold one at a position (from 1)."""

    negatives: Negatives
    k: int
    order: ContextOrder | None = None
    position: int | None = None

    @property
    def name(self) -> str:
        place = self.order if self.position is None else f"gold-{self.position}"
        return f"{self.negatives} {self.k} {place}"


@dataclass(frozen=True, slots=True)
class ContextSweep:
    """What is swept. positions: of the gold passage among the largest k, with the first kind of negatives."""

    ks: tuple[int, ...]
    orders: tuple[ContextOrder, ...]
    negatives: tuple[Negatives, ...]
    positions: tuple[int, ...] = ()
    num_questions: int = 100
    seed: int = 0

    def cells(self) -> Iterator[Cell]:
        """Orders for each kind of negatives and each k, then the positions."""
        for kind in self.negatives:
            for k in self.ks:
                yield from (Cell(kind, k, order) for order in self.orders)
        yield from (Cell(self.negatives[0], max(self.ks), position=place) for place in self.positions)


def make_sweep(
    ks: str, orders: str, negatives: str, positions: str, num_questions: int, seed: int
) -> ContextSweep:
    """Read lists such as "2,5,10" and "rank,ends"; positions may be "all", orders and positions "".

    Raises:
        ConfigError: a word or number is unknown or out of range, or nothing is asked for.
    """
    sizes = _numbers(ks, "--k")
    if not sizes:
        raise ConfigError("--k is empty; give numbers of passages, such as 1,5,10")
    most = max(sizes)
    places = tuple(range(1, most + 1)) if positions == "all" else _numbers(positions, "--positions")
    if places and max(places) > most:
        raise ConfigError(
            f"--positions {positions}: the largest k is {most}, so no passage stands at {max(places)}"
        )
    kinds = [one for one in get_args(Negatives) if one in _words(negatives, NEGATIVES, "--negatives")]
    wanted = _words(orders, ORDERS, "--order")
    if not kinds:
        raise ConfigError(f"--negatives is empty; known: {', '.join(NEGATIVES)}")
    if not wanted and not places:
        raise ConfigError("neither --order nor --positions is given, so there is nothing to measure")
    chosen = tuple(one for word in wanted for one in get_args(ContextOrder) if one == word)
    in_order = tuple(sorted(kinds, key=_split(negatives).index))
    return ContextSweep(sizes, chosen, in_order, places, num_questions, seed)


def is_answer_bearing(passage: ContextPassage, answers: Iterable[str]) -> bool:
    """Whether title or text hold an answer: as it is written, in any case, or after normalisation.

    Stricter than either alone: quoting a distractor can never count as a right answer.
    """
    forms = tuple(answers)
    content = f"{passage.title}\n{passage.text}"
    folded = content.casefold()
    return any(form.casefold() in folded for form in forms) or containment(content, forms) > 0


def probe_passages(
    question: ContextQuestion, ranking: Iterable[ContextPassage], k: int
) -> tuple[ContextPassage, ...]:
    """All gold passages, then the first distractors of the ranking that hold no answer, k together.

    Fewer than k where the ranking has no more; more where there are more gold passages than k.
    """
    golds = question.of_role("gold")
    chosen = {passage.name: passage for passage in golds}
    for passage in ranking:
        if len(chosen) >= k:
            break
        if passage.name not in chosen and not is_answer_bearing(passage, question.answers):
            # What is gold to another question is none here.
            chosen[passage.name] = replace(passage, role="distractor") if passage.role == "gold" else passage
    return tuple(chosen.values())


def random_ranking(question: ContextQuestion, pool: Sequence[ContextPassage], seed: int) -> list[ContextPassage]:
    """Passages of other questions, drawn by the seed and the question's id."""
    own = {passage.name for passage in question.passages}
    others = [passage for passage in pool if passage.name not in own]
    return random.Random(f"{seed} {question.id}").sample(others, len(others))


def shuffled(passages: Sequence[ContextPassage], question: ContextQuestion, seed: int) -> list[ContextPassage]:
    """By the seed and the question's id: as Algorithm 1 has them."""
    return random.Random(f"{seed} {question.id} order").sample(list(passages), len(passages))


def with_gold_at(passages: Sequence[ContextPassage], position: int) -> list[ContextPassage]:
    """The others as they are given, and the gold passages together around `position`.

    Of g gold passages among k the first is at 1 + (position - 1)(k - g) / (k - 1), rounded half up: they begin at
    the first place for position 1, and end at the last for position k.
    """
    golds = [passage for passage in passages if passage.role == "gold"]
    others = [passage for passage in passages if passage.role != "gold"]
    span = max(1, len(passages) - 1)
    before = (2 * (position - 1) * len(others) + span) // (2 * span)
    return [*others[:before], *golds, *others[before:]]


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _words(text: str, known: Sequence[str], option: str) -> list[str]:
    words = _split(text)
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ConfigError(f"{option} {unknown[0]!r} is none of {', '.join(known)}")
    return words


def _numbers(text: str, option: str) -> tuple[int, ...]:
    words = _split(text)
    wrong = [word for word in words if not word.isdecimal() or int(word) < 1]
    if wrong:
        raise ConfigError(f"{option} {wrong[0]!r} is no number of at least 1; give a list such as 1,5,10")
    return tuple(sorted({int(word) for word in words}))
