"""Collections in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.errors import DataError
from ragkit.eval.sets.judgements import read_beir_qrels, read_judgements
from ragkit.eval.sets.topics import read_topics
from ragkit.eval.sets.trec import Qrels, numbered_lines
from ragkit.files import sha256_of
from ragkit.records import TextRecord


@dataclass(frozen=True, slots=True)
class BeirCollection:
    """Judged queries of one split, and the documents they are run against.

    queries: text by id, only queries with judgements, in the order of queries.jsonl.
    qrels: grade by query and document id; a grade above 0 is relevant.
    """

    folder: Path
    split: str
    queries: dict[str, str]
    qrels: Qrels

    def records(self) -> Iterator[TextRecord]:
        """The documents, one at a time, in the order of corpus.jsonl.

        Raises:
            DataError: a line is malformed, or an id appears twice.
        """
        path = self.folder / "corpus.jsonl"
        for place, document, row in read_rows(path):
            title = row.get("title") or ""
            if not isinstance(title, str):
                raise DataError(f'{place}: "title" is {title!r}, expected text')
            yield TextRecord(document, _text_of(row, place), title)

    def fingerprint(self) -> str:
        """Hex SHA-256 of corpus.jsonl: equal as long as an index of the documents remains valid."""
        return sha256_of(self.folder / "corpus.jsonl")

    def judged_fingerprint(self) -> str:
        """Hex SHA-256 of the judged queries and their judgements: equal as long as a run answers them."""
        judged = json.dumps([self.queries, self.qrels], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(judged.encode()).hexdigest()


def read_beir(
    folder: Path, split: str = "test", topics: Path | None = None, qrels: Path | None = None
) -> BeirCollection:
    """Read queries and judgements; documents are read when `BeirCollection.records` is gone through.

    Args:
        topics: a file of TREC topics, in the place of queries.jsonl.
        qrels: a file of judgements in TREC's form or BEIR's, in the place of qrels/<split>.tsv.

    Raises:
        DataError: a file is missing or malformed, an id appears twice, or a judged query has no text.
    """
    if not (folder / "corpus.jsonl").is_file():
        raise DataError(f"{folder} has no corpus.jsonl; give a folder in BEIR's layout")
    judgements = _read_split(folder, split) if qrels is None else read_judgements(qrels)
    if topics is None:
        texts = {query: _text_of(row, place) for place, query, row in read_rows(folder / "queries.jsonl")}
    else:
        texts = read_topics(topics)
    missing = [query for query in judgements if query not in texts]
    if missing:
        where = f"{folder}: {{}} are not in queries.jsonl" if topics is None else f"{{}} are not in {topics}"
        raise DataError(where.format(f"{len(missing)} judged queries, {missing[0]!r} among them,"))
    judged = {query: text for query, text in texts.items() if query in judgements}
    return BeirCollection(folder, split, judged, judgements)


def _read_split(folder: Path, split: str) -> Qrels:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = sorted(file.stem for file in path.parent.glob("*.tsv"))
        raise DataError(f"there is no {path}; splits here: {', '.join(splits) or 'none'}")
    return read_beir_qrels(path)


def read_rows(path: Path, id_key: str = "_id") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Place, id and fields of each line of a JSON Lines file; ids are unique.

    Raises:
        DataError: the file is missing, a line is malformed, or an id appears twice.
    """
    if not path.is_file():
        raise DataError(f"there is no {path}")
    seen: set[str] = set()
    for number, line in numbered_lines(path):
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: {type(row).__name__}, expected an object")
        identifier = _id_of(row, id_key, place)
        if identifier in seen:
            raise DataError(f"{place}: the id {identifier!r} has appeared before")
        seen.add(identifier)
        yield place, identifier, row


def _id_of(row: dict[str, Any], key: str, place: str) -> str:
    """Ids are text; some collections write whole numbers, which qrels name by their digits."""
    identifier = row.get(key)
    if type(identifier) is int:
        return str(identifier)
    if not isinstance(identifier, str) or not identifier:
        raise DataError(f'{place}: "{key}" is {identifier!r}, expected text')
    return identifier


def _text_of(row: dict[str, Any], place: str) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise DataError(f'{place}: "text" is {text!r}, expected text')
    return text
