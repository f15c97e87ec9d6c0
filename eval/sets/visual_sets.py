"""Judged collections of pictures: ViDoRe's data sets in a folder, or BEIR's files with paths of pictures.

Laid out as one of
    corpus/ queries/ qrels/   parquet or arrow files, as ViDoRe 2 and 3 and the BEIR form of ViDoRe 1 are
    *.parquet or *.arrow      rows of query, image and image_filename, as ViDoRe 1 is
    corpus.jsonl              rows of _id and image (a path below the folder), beside queries.jsonl and qrels/
In rows of both, pictures with one file name are one document, and a query is judged by all rows that it stands in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.errors import DataError
from ragkit.eval.sets.beir import BeirCollection, read_beir, read_rows
from ragkit.eval.sets.data_tables import column_names, table_files, table_rows, tables_below
from ragkit.eval.sets.trec import Qrels, checked_grade
from ragkit.files import sha256_of

_DOCUMENT_ID = ("corpus-id", "corpus_id", "_id", "id")
_QUERY_ID = ("query-id", "query_id", "_id", "id")
_TEXT = ("query", "text")
_FILE_NAME = "image_filename"


@dataclass(frozen=True, slots=True)
class Picture:
    """A document that is a picture: its file, or the bytes of one where `path` is None."""

    id: str
    path: Path | None
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class VisualSet(BeirCollection):
    """Judged queries over pictures.

    tables: the files that hold the pictures; none where corpus.jsonl names them. id_column: of the tables; "" for
    rows that have no id but their number.
    """

    tables: tuple[Path, ...] = ()
    id_column: str = ""

    def pictures(self) -> Iterator[Picture]:
        """The documents, a few at a time in memory; of those with one id the first.

        Raises:
            DataError: a file is damaged or missing.
        """
        seen: set[str] = set()
        for number, (place, identifier, image) in enumerate(self._images()):
            name = _id_of(identifier if self.id_column or not self.tables else number, place)
            if name not in seen:
                seen.add(name)
                yield _picture(name, image, self.folder, place)

    def fingerprint(self) -> str:
        """Equal as long as an index of the pictures remains valid."""
        files = self.tables or tuple(picture.path for picture in self.pictures() if picture.path is not None)
        facts = [f"{path.relative_to(self.folder)} {sha256_of(path)}" for path in files]
        if not self.tables:
            facts.append(sha256_of(self.folder / "corpus.jsonl"))
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()

    def _images(self) -> Iterator[tuple[str, object, object]]:
        if not self.tables:
            for place, identifier, row in read_rows(self.folder / "corpus.jsonl"):
                yield place, identifier, row.get("image")
            return
        columns = [self.id_column, "image"] if self.id_column else ["image"]
        for place, row in table_rows(self.tables, columns):
            yield place, row.get(self.id_column), row["image"]


def is_visual_set(folder: Path, reads_pictures: bool) -> bool:
    """Whether the documents of a collection are pictures.

    Args:
        reads_pictures: whether the settings ask for pictures; a corpus.jsonl that has texts as well is one of
            pictures then, and of texts otherwise.

    Raises:
        DataError: corpus.jsonl cannot be read.
    """
    if (folder / "corpus.jsonl").is_file():
        first = next(read_rows(folder / "corpus.jsonl"), None)
        return first is not None and bool(first[2].get("image")) and (reads_pictures or not first[2].get("text"))
    return folder.is_dir() and bool(tables_below(folder))


def read_visual_set(folder: Path, split: str = "test") -> VisualSet:
    """Read queries and judgements; pictures are read when `VisualSet.pictures` is gone through.

    Raises:
        DataError: a file or column is missing, a row is malformed, or a judged query has no text.
    """
    if (folder / "corpus.jsonl").is_file():
        beir = read_beir(folder, split)
        return VisualSet(folder, split, beir.queries, beir.qrels)
    if (folder / "corpus").is_dir():
        return _read_three_tables(folder, split)
    return _read_rows_of_both(folder, split)


def _read_three_tables(folder: Path, split: str) -> VisualSet:
    corpus = table_files(folder / "corpus", split, or_the_only_one=True)
    _column(corpus[0], ("image",))
    queries = table_files(folder / "queries", split, or_the_only_one=True)
    id_column, text_column = _column(queries[0], _QUERY_ID), _column(queries[0], _TEXT)
    texts: dict[str, str] = {}
    for place, row in table_rows(queries, [id_column, text_column]):
        query = _id_of(row[id_column], place)
        if query in texts:
            raise DataError(f"{place}: the query {query!r} has appeared before")
        if not isinstance(row[text_column], str):
            raise DataError(f"{place}: {text_column!r} is {row[text_column]!r}, expected text")
        texts[query] = row[text_column]
    qrels = _read_qrels(table_files(folder / "qrels", split))
    missing = [query for query in qrels if query not in texts]
    if missing:
        raise DataError(f"{folder}: {len(missing)} judged queries, {missing[0]!r} among them, are not in queries/")
    judged = {query: text for query, text in texts.items() if query in qrels}
    return VisualSet(folder, split, judged, qrels, tuple(corpus), _column(corpus[0], _DOCUMENT_ID))


def _read_qrels(files: list[Path]) -> Qrels:
    query_column, document_column = _column(files[0], _QUERY_ID), _column(files[0], _DOCUMENT_ID)
    qrels: Qrels = {}
    for place, row in table_rows(files, [query_column, document_column, _column(files[0], ("score",))]):
        query, document = (_id_of(row[column], place) for column in (query_column, document_column))
        grade, grades = row["score"], qrels.setdefault(query, {})
        if not isinstance(grade, int) and not (isinstance(grade, float) and grade.is_integer()):
            raise DataError(f"{place}: the grade is {grade!r}, expected a whole number")
        if grades.setdefault(document, checked_grade(grade, grade, place)) != grade:
            raise DataError(
                f"{place}: query {query!r} judges document {document!r} with {grade} after {grades[document]}"
            )
    if not qrels:
        raise DataError(f"{files[0].parent} holds no judgement")
    return qrels


def _read_rows_of_both(folder: Path, split: str) -> VisualSet:
    files = table_files(folder, split)
    _column(files[0], ("image",))
    query_column = _column(files[0], ("query",))
    id_column = _FILE_NAME if _FILE_NAME in column_names(files[0]) else ""
    ids: dict[str, str] = {}
    qrels: Qrels = {}
    rows = table_rows(files, [query_column, id_column] if id_column else [query_column])
    for number, (place, row) in enumerate(rows):
        if row[query_column] is not None:
            query = ids.setdefault(row[query_column], f"q{len(ids)}")
            qrels.setdefault(query, {})[_id_of(row[id_column] if id_column else number, place)] = 1
    if not qrels:
        raise DataError(f"{folder}: no row of the split {split!r} has a query")
    return VisualSet(folder, split, {id_: text for text, id_ in ids.items()}, qrels, tuple(files), id_column)


def _id_of(value: object, place: str) -> str:
    """Ids are text; ViDoRe's are mostly whole numbers."""
    if not isinstance(value, int | str) or value == "":
        raise DataError(f"{place}: an id is {value!r}, expected text or a whole number")
    return str(value)


def _column(path: Path, names: tuple[str, ...]) -> str:
    """The first of these columns that the file has."""
    found = column_names(path)
    for name in names:
        if name in found:
            return name
    raise DataError(f"{path} has none of the columns {', '.join(names)}; it has {', '.join(found)}")


def _picture(identifier: str, image: object, folder: Path, place: str) -> Picture:
    """From what a data set keeps in its image column: bytes, a path, or both of them in a struct."""
    fields: Mapping[str, Any] = image if isinstance(image, dict) else {}
    content = image if isinstance(image, bytes) else fields.get("bytes")
    if content:
        return Picture(identifier, None, content)
    named = image if isinstance(image, str) else fields.get("path")
    if not named:
        raise DataError(f"{place}: the document {identifier!r} has no picture")
    path = folder / named
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise DataError(f"{place}: there is no picture {named!r} below {folder}")
    return Picture(identifier, path)
