"""Which questions are written to which passages."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ragkit.config import Config
from ragkit.errors import ConfigError
from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.extracted_questions import ExtractedKind
from ragkit.retrievers.training.question_prompts import QuestionKind

AnyKind = QuestionKind | ExtractedKind


@dataclass(frozen=True, slots=True)
class QuestionPlan:
    """What is written. per_kind: at most so many of each kind; None: one of each kind to every passage.

    Of an `ExtractedKind` no model is asked: it is taken from the passage.
    """

    kinds: tuple[AnyKind, ...] = tuple(QuestionKind)
    per_kind: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class QuestionTask:
    """One question to write. id: the question's, which begins with its kind."""

    kind: AnyKind
    passage: TrainingPassage

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.passage.id}"


def tasks_of(plan: QuestionPlan, passages: Sequence[TrainingPassage]) -> Iterator[QuestionTask]:
    """Kind after kind for each passage; of fewer questions than passages each kind begins at another passage."""
    ordered = list(passages)
    if plan.per_kind is not None and plan.per_kind < len(ordered):
        random.Random(plan.seed).shuffle(ordered)
    number = min(plan.per_kind or len(ordered), len(ordered))
    for place in range(number):
        for turn, kind in enumerate(plan.kinds):
            yield QuestionTask(kind, ordered[(turn * number + place) % len(ordered)])


def default_kinds(config: Config) -> tuple[AnyKind, ...]:
    """What a model writes where the settings name an engine, else what is taken from the passages."""
    named = "engine" in config.generation.model_fields_set
    return tuple(QuestionKind) if named else tuple(ExtractedKind)


def kinds_of(words: str) -> tuple[AnyKind, ...]:
    """The kinds named in a line with commas between; none for an empty one.

    Raises:
        ConfigError: a word is no kind.
    """
    known: dict[str, AnyKind] = {str(kind): kind for kind in (*QuestionKind, *ExtractedKind)}
    wanted = list(dict.fromkeys(word.strip() for word in words.split(","))) if words else []
    for word in wanted:
        if word not in known:
            raise ConfigError(f"kind of questions {word!r}; give some of {', '.join(known)}")
    return tuple(known[word] for word in wanted)
