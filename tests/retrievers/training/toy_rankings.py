"""Questions of which the passage with the river is always the answer."""

from __future__ import annotations

import random
from pathlib import Path

from ragkit.retrievers.training.examples import (
    LISTS,
    PASSAGES,
    QUESTIONS,
    TrainingList,
    TrainingPassage,
    TrainingQuestion,
    TrainingSet,
    write_rows,
)

_OTHERS = ["the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "over", "mat", "bank"]


def toy_rankings(num_questions: int = 30) -> TrainingSet:
    """Lists of four: the river, then three without it."""
    draw = random.Random(0)
    passages: dict[str, TrainingPassage] = {}
    questions: dict[str, TrainingQuestion] = {}
    lists = []
    for i in range(num_questions):
        names = tuple(f"p{i}-{j}" for j in range(4))
        for j, name in enumerate(names):
            words = draw.choices(_OTHERS, k=3)
            passages[name] = TrainingPassage(name, " ".join([*words, "river"] if j == 0 else [*words, "mat"]))
        questions[f"q{i}"] = TrainingQuestion(f"q{i}", draw.choice(_OTHERS), sources=(names[0],))
        lists.append(TrainingList(f"q{i}", names, (1.0, 0.4, 0.3, 0.1)))
    return TrainingSet(passages, questions, tuple(lists))


def write_toy_rankings(folder: Path) -> None:
    """The same as a training folder."""
    data = toy_rankings()
    folder.mkdir()
    write_rows(folder / PASSAGES, data.passages.values())
    write_rows(folder / QUESTIONS, data.questions.values())
    write_rows(folder / LISTS, data.lists)
