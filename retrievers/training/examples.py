"""What models are trained on: passages, questions, and lists of passages scored by a teacher.

Three files of a folder: passages.jsonl, questions.jsonl and lists.jsonl, one JSON object a line. Any may be
made by other tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from ragkit.errors import DataError
from ragkit.files import atomic_write

PASSAGES, QUESTIONS, LISTS = "passages.jsonl", "questions.jsonl", "lists.jsonl"
# Of a question that somebody wrote, in the place of what kind of question a model was asked for.
GIVEN = "given"

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class TrainingPassage:
    """A piece of text, or the picture of a page.

    document: what it is part of. image: path of the picture, in the folder of the file or absolute; "" for a text.
    """

    id: str
    text: str
    title: str = ""
    document: str = ""
    image: str = ""

    @property
    def titled_text(self) -> str:
        """As `ragkit.records.Passage.titled_text`: what models read."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """A question, or another text that is searched for.

    kind: what a model was asked to write, or "given". sources: ids of the passages known to answer it: the one
    that it was written from, or those judged relevant.
    """

    id: str
    text: str
    kind: str = GIVEN
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingList:
    """The passages that a question is trained on, with what the teacher thinks of them.

    passages, scores: ids and scores in one order, the teacher's best first. The first is the positive. scores: the
    teacher's own, or from 0 to 1 once they are normalised.
    """

    question: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]

    def first(self, number: int) -> TrainingList:
        return replace(self, passages=self.passages[:number], scores=self.scores[:number])


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Questions with their lists; passages and questions by id."""

    passages: Mapping[str, TrainingPassage]
    questions: Mapping[str, TrainingQuestion]
    lists: tuple[TrainingList, ...]


def read_training_set(folder: Path, *, with_lists: bool = True) -> TrainingSet:
    """The files of a training folder; where no lists are wanted there need be none.

    Raises:
        DataError: a file is missing or malformed, or a list names what the folder does not hold.
    """
    passages, questions = read_passages(folder / PASSAGES), read_questions(folder / QUESTIONS)
    lists = read_lists(folder / LISTS) if with_lists else []
    for entry in lists:
        if entry.question not in questions:
            raise DataError(f"{folder / LISTS}: question {entry.question!r} is not in {QUESTIONS}")
        for passage in entry.passages:
            if passage not in passages:
                raise DataError(f"{folder / LISTS}: passage {passage!r} is not in {PASSAGES}")
    num_pictures = sum(bool(passage.image) for passage in passages.values())
    if 0 < num_pictures < len(passages):
        raise DataError(
            f"{folder / PASSAGES} has {num_pictures} pictures and {len(passages) - num_pictures} texts; a model "
            "is trained and judged on one of them: put them into two folders"
        )
    return TrainingSet(passages, questions, tuple(lists))


def read_passages(path: Path) -> dict[str, TrainingPassage]:
    """By id, in the order of the file. Raises DataError."""
    return _by_id(path, _passage, lambda passage: passage.id)


def read_questions(path: Path) -> dict[str, TrainingQuestion]:
    """By id, in the order of the file. Raises DataError."""
    return _by_id(path, _question, lambda question: question.id)


def read_lists(path: Path) -> list[TrainingList]:
    """In the order of the file, one a question. Raises DataError."""
    return list(_by_id(path, _list, lambda entry: entry.question).values())


def check_normalised(lists: Iterable[TrainingList]) -> None:
    """Raises DataError where a score is not from 0 to 1."""
    for entry in lists:
        if not all(0 <= score <= 1 for score in entry.scores):
            raise DataError(
                f"the list of question {entry.question!r} has scores from {min(entry.scores):g} to "
                f"{max(entry.scores):g}; they must be normalised to 0..1: make lists with ragkit train negatives"
            )


def write_rows(path: Path, rows: Iterable[TrainingPassage | TrainingQuestion | TrainingList]) -> None:
    """Write one of the three files, as a whole or not at all."""
    with atomic_write(path) as file:
        for row in rows:
            file.write(line_of(row))


def write_rows_once(path: Path, rows: Sequence[TrainingPassage | TrainingQuestion]) -> None:
    """As `write_rows`; a file that is there stays. Raises DataError where it says something else."""
    if not path.exists():
        write_rows(path, rows)
    elif path.read_bytes() != b"".join(map(line_of, rows)):
        raise DataError(f"{path} is not of this collection and split; name an empty or a new folder")


def line_of(row: TrainingPassage | TrainingQuestion | TrainingList) -> bytes:
    """A row as a line of its file; fields that hold nothing are left out."""
    kept = {name: value for name, value in asdict(row).items() if value not in ("", ())}
    return json.dumps(kept, ensure_ascii=False).encode() + b"\n"


def _by_id(
    path: Path, parse: Callable[[dict[str, Any], str], _Row], id_of: Callable[[_Row], str]
) -> dict[str, _Row]:
    found: dict[str, _Row] = {}
    for place, raw in _objects(path):
        row = parse(raw, place)
        if id_of(row) in found:
            raise DataError(f"{place}: {id_of(row)!r} appears twice")
        found[id_of(row)] = row
    return found


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: {line[:60]!r} is not a JSON object")
        yield place, row


def _passage(row: dict[str, Any], place: str) -> TrainingPassage:
    texts = {name: _text(row, name, place, "") for name in ("text", "title", "document", "image")}
    if not texts["text"] and not texts["image"]:
        raise DataError(f'{place}: the passage has neither "text" nor "image"')
    return TrainingPassage(_text(row, "id", place), **texts)


def _question(row: dict[str, Any], place: str) -> TrainingQuestion:
    return TrainingQuestion(
        _text(row, "id", place),
        _text(row, "text", place),
        _text(row, "kind", place, GIVEN),
        _texts(row, "sources", place),
    )


def _list(row: dict[str, Any], place: str) -> TrainingList:
    passages, scores = _texts(row, "passages", place), row.get("scores")
    if not _are_numbers(scores) or len(scores) != len(passages) or not passages:
        raise DataError(
            f'{place}: "passages" has {len(passages)} ids and "scores" is {str(scores)[:60]}; one number a passage'
        )
    if len(set(passages)) < len(passages):
        raise DataError(f"{place}: a passage stands twice in the list")
    return TrainingList(_text(row, "question", place), passages, tuple(float(score) for score in scores))


def _are_numbers(values: object) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def _text(row: dict[str, Any], name: str, place: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise DataError(f'{place}: "{name}" is {value!r}, expected text')
    return value


def _texts(row: dict[str, Any], name: str, place: str) -> tuple[str, ...]:
    values = row.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DataError(f'{place}: "{name}" is {values!r}, expected a list of ids')
    return tuple(values)
