"""Questions with passages that answer them and passages that do not: what long contexts are measured with."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ragkit.errors import ConfigError, DataError
from ragkit.files import sha256_of

Role = Literal["gold", "distractor", "counterfactual"]
Form = Literal["ctxs", "rgb"]
FORMS: tuple[str, ...] = get_args(Form)


@dataclass(frozen=True, slots=True)
class ContextPassage:
    """role: "gold" holds the answer or a part of it; "counterfactual" says a wrong answer in its place."""

    title: str
    text: str
    role: Role = "distractor"

    @property
    def name(self) -> str:
        """Of its content alone: a name in the set may say which passage is the gold one."""
        return "doc-" + hashlib.sha256(f"{self.title}\n{self.text}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class ContextQuestion:
    """passages: in the order of the set. wrong_answers: what its counterfactual passages say."""

    id: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[ContextPassage, ...]
    wrong_answers: tuple[str, ...] = ()

    def of_role(self, role: Role) -> tuple[ContextPassage, ...]:
        return tuple(passage for passage in self.passages if passage.role == role)


@dataclass(frozen=True, slots=True)
class ContextSet:
    """form: "ctxs" is that of the Lost-in-the-Middle repository; "rgb" that of RGB's counterfactual file.

    pool: the distinct passages of all questions by name, in the order of the set.
    """

    path: Path
    form: Form
    questions: tuple[ContextQuestion, ...]
    pool: Mapping[str, ContextPassage]

    @property
    def has_counterfactuals(self) -> bool:
        return any(question.of_role("counterfactual") for question in self.questions)

    def fingerprint(self) -> str:
        """Hex SHA-256 of the file."""
        return sha256_of(self.path)

    def sample(self, number: int, seed: int) -> tuple[ContextQuestion, ...]:
        """So many questions drawn by the seed, in the order of the set; all of them where there are no more."""
        chosen = random.Random(seed).sample(range(len(self.questions)), min(number, len(self.questions)))
        return tuple(self.questions[i] for i in sorted(chosen))


def read_context_set(data: Path, form: str = "auto") -> ContextSet:
    """Read a `.jsonl` or `.jsonl.gz` file, or the only `.jsonl` file of a folder.

    "ctxs": question, answers, ctxs with title, text and isgold, as Liu et al. (arXiv 2307.03172) share them.
    "rgb": query, answer, positive, positive_wrong, negative and fakeanswer (Chen et al., arXiv 2309.01431); the
    first positive snippet is the gold one, for each of them answers alone, and the others are left out.

    Raises:
        ConfigError: there is no such form.
        DataError: there is no such file, it holds no question, or a line is malformed.
    """
    if form not in ("auto", *FORMS):
        raise ConfigError(f"--form {form!r} is none of auto, {', '.join(FORMS)}")
    path = _file_of(data)
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path} holds no question")
    found = _form_of(rows[0][1], rows[0][0]) if form == "auto" else form
    read: Callable[[Mapping[str, Any], str, str], ContextQuestion] = _read_rgb if found == "rgb" else _read_ctxs
    questions: dict[str, ContextQuestion] = {}
    for number, (place, row) in enumerate(rows, 1):
        question = read(row, str(row.get("id", number)), place)
        if question.id in questions:
            raise DataError(f"{place}: the id {question.id!r} has appeared before")
        questions[question.id] = question
    pool: dict[str, ContextPassage] = {}
    for passage in (passage for one in questions.values() for passage in one.passages):
        pool.setdefault(passage.name, passage)
    return ContextSet(path, "rgb" if found == "rgb" else "ctxs", tuple(questions.values()), pool)


def _file_of(data: Path) -> Path:
    if data.is_file():
        return data
    if not data.is_dir():
        raise DataError(f"there is no {data}; give a .jsonl file, or a folder with one")
    files = sorted(data.glob("*.jsonl"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise DataError(f"{data} has {len(files)} .jsonl files ({names}); name the file")
    return files[0]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and fields of each line; empty lines are passed over."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield f"{path}:{number}", _object(raw, f"{path}:{number}")
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _object(raw: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{place}: not JSON in UTF-8 ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: {type(row).__name__}, expected an object")
    return row


def _form_of(row: Mapping[str, Any], place: str) -> Form:
    if "ctxs" in row:
        return "ctxs"
    if "positive" in row:
        return "rgb"
    raise DataError(f'{place}: neither "ctxs" nor "positive" is there; known forms: {", ".join(FORMS)}')


def _read_ctxs(row: Mapping[str, Any], id_: str, place: str) -> ContextQuestion:
    ctxs = row.get("ctxs")
    if not isinstance(ctxs, list) or not all(isinstance(one, dict) for one in ctxs):
        raise DataError(f'{place}: "ctxs" is no list of objects')
    passages = tuple(_ctx(one, place) for one in ctxs)
    return _checked(id_, _text(row, "question", place), _texts(row, "answers", place), passages, (), place)


def _ctx(ctx: Mapping[str, Any], place: str) -> ContextPassage:
    is_gold, title = ctx.get("isgold"), ctx.get("title") or ""
    if not isinstance(is_gold, bool):
        raise DataError(f'{place}: "isgold" of passage {title!r} is {is_gold!r}, expected true or false')
    return ContextPassage(str(title), _text(ctx, "text", place), "gold" if is_gold else "distractor")


def _read_rgb(row: Mapping[str, Any], id_: str, place: str) -> ContextQuestion:
    passages = [ContextPassage("", _texts(row, "positive", place)[0], "gold")]
    kinds: tuple[tuple[str, Role], ...] = (("negative", "distractor"), ("positive_wrong", "counterfactual"))
    for name, role in kinds:
        texts = _texts(row, name, place) if row.get(name) else ()
        passages += [ContextPassage("", text, role) for text in texts]
    wrong = _texts(row, "fakeanswer", place) if row.get("fakeanswer") else ()
    return _checked(id_, _text(row, "query", place), _texts(row, "answer", place), tuple(passages), wrong, place)


def _checked(
    id_: str,
    question: str,
    answers: tuple[str, ...],
    passages: tuple[ContextPassage, ...],
    wrong: tuple[str, ...],
    place: str,
) -> ContextQuestion:
    if not any(passage.role == "gold" for passage in passages):
        raise DataError(f"{place}: question {id_!r} has no gold passage")
    return ContextQuestion(id_, question, answers, passages, wrong)


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f'{place}: "{name}" is {text!r}, expected text')
    return text


def _texts(row: Mapping[str, Any], name: str, place: str) -> tuple[str, ...]:
    """One text, or those of a list and of the lists in it (RGB writes forms of one answer so)."""
    found = _flat(row.get(name))
    if not found or not all(isinstance(text, str) and text.strip() for text in found):
        raise DataError(f'{place}: "{name}" is {row.get(name)!r}, expected text or a list of texts')
    return tuple(found)


def _flat(value: Any) -> Sequence[Any]:
    return [one for part in value for one in _flat(part)] if isinstance(value, list) else [value]
