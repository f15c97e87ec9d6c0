"""TREC's files: runs (``query Q0 document rank score tag``) and judgements (``query 0 document grade``).

A file whose name ends in ``.gz`` is read and written compressed.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ragkit.errors import DataError
from ragkit.files import atomic_write

Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]

# trec_eval keeps a count for each grade, so that a huge one takes all memory. None in use is near this.
MAX_GRADE = 1000
_WHOLE_NUMBER = re.compile("-?[0-9]+")


def read_run(path: Path) -> Run:
    """Scores by query and document id. Ranks in the file say nothing that scores do not: they are not read.

    Raises:
        DataError: a line is malformed, or a query names a document twice.
    """
    run: Run = {}
    for number, line in numbered_lines(path):
        place = f"{path}:{number}"
        query, _, document, _, score, _ = _columns(line, 6, place)
        scores = run.setdefault(query, {})
        if document in scores:
            raise DataError(f"{place}: query {query!r} names document {document!r} a second time")
        scores[document] = _finite(score, place)
    return run


def write_run(path: Path, run: Mapping[str, Mapping[str, float]], tag: str = "ragkit") -> None:
    """Write a run, each query's documents by score; equal scores keep their order. `read_run` gives it back.

    Raises:
        DataError: an id is empty or holds white space, which the format cannot carry.
    """
    lines = []
    for query, scores in run.items():
        ordered = sorted(scores.items(), key=lambda item: -item[1])
        _check_ids([query, *scores])
        lines += [
            f"{query} Q0 {document} {rank} {float(score)!r} {tag}\n"
            for rank, (document, score) in enumerate(ordered, 1)
        ]
    _write_lines(path, lines)


def read_qrels(path: Path) -> Qrels:
    """Grades by query and document id.

    Raises:
        DataError: a line is malformed, or a query judges a document twice.
    """
    qrels: Qrels = {}
    for number, line in numbered_lines(path):
        place = f"{path}:{number}"
        query, _, document, grade = _columns(line, 4, place)
        add_judgement(qrels, query, document, grade, place)
    return qrels


def write_qrels(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgements; `read_qrels` gives them back.

    Raises:
        DataError: an id is empty or holds white space, which the format cannot carry.
    """
    lines = []
    for query, grades in qrels.items():
        _check_ids([query, *grades])
        lines += [f"{query} 0 {document} {grade}\n" for document, grade in grades.items()]
    _write_lines(path, lines)


def add_judgement(qrels: Qrels, query: str, document: str, grade: str, place: str) -> None:
    """Enter a judgement read at `place`.

    Raises:
        DataError: the grade is no whole number or out of range, or the document was judged before for this query.
    """
    if not _WHOLE_NUMBER.fullmatch(grade.strip()):
        raise DataError(f"{place}: the grade is {grade!r}, expected a whole number")
    grades = qrels.setdefault(query, {})
    if document in grades:
        raise DataError(f"{place}: query {query!r} judges document {document!r} a second time")
    grades[document] = checked_grade(float(grade), grade, place)


def checked_grade(value: float, written: object, place: str) -> int:
    """A grade that measures can be computed with.

    Raises:
        DataError: it is out of range.
    """
    if not -MAX_GRADE <= value <= MAX_GRADE:
        raise DataError(
            f"{place}: the grade is {written}, expected a whole number from -{MAX_GRADE} to {MAX_GRADE}"
        )
    return int(value)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a UTF-8 file; empty lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                # A byte order mark can only stand at the very beginning.
                encoding = "utf-8-sig" if number == 1 else "utf-8"
                line = _decoded(raw, encoding, f"{path}:{number}").strip("\r\n")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _write_lines(path: Path, lines: list[str]) -> None:
    content = "".join(lines).encode()
    with atomic_write(path) as file:
        # Without a time, so that the same lines are the same bytes.
        file.write(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _decoded(raw: bytes, encoding: str, place: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 ({error})") from error


def _columns(line: str, count: int, place: str) -> list[str]:
    columns = line.split()
    if len(columns) != count:
        raise DataError(f"{place}: {len(columns)} columns, expected {count}")
    return columns


def _finite(text: str, place: str) -> float:
    try:
        score = float(text)
    except ValueError as error:
        raise DataError(f"{place}: the score is {text!r}, expected a number") from error
    if not math.isfinite(score):
        raise DataError(f"{place}: the score is {text!r}, expected a finite number")
    return score


def _check_ids(ids: Iterable[str]) -> None:
    for identifier in ids:
        if identifier.split() != [identifier]:
            raise DataError(f"the id {identifier!r} is empty or holds white space; TREC files cannot carry it")
        if identifier.startswith("\ufeff"):
            raise DataError(f"the id {identifier!r} begins with a byte order mark; TREC files cannot carry it")
