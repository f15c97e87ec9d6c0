"""Collections in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.errors import DataError
from ragkit.eval.trec import Qrels, add_judgement, numbered_lines
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


def read_beir(folder: Path, split: str = "test") -> BeirCollection:
    """Read queries and judgements; documents are read when `BeirCollection.records` is gone through.

    Raises:
        DataError: a file is missing or malformed, an id appears twice, or a judged query has no text.
    """
    if not (folder / "corpus.jsonl").is_file():
        raise DataError(f"{folder} has no corpus.jsonl; give a folder in BEIR's layout")
    qrels = _read_qrels(folder, split)
    queries = {query: _text_of(row, place) for place, query, row in read_rows(folder / "queries.jsonl")}
    missing = [query for query in qrels if query not in queries]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} judged queries, {missing[0]!r} among them, are not in queries.jsonl"
        )
    judged = {query: text for query, text in queries.items() if query in qrels}
    return BeirCollection(folder, split, judged, qrels)


def _read_qrels(folder: Path, split: str) -> Qrels:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = sorted(file.stem for file in path.parent.glob("*.tsv"))
        raise DataError(f"there is no {path}; splits here: {', '.join(splits) or 'none'}")
    qrels: Qrels = {}
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if number == 1 and fields[-1] == "score":
            continue
        if len(fields) != 3:
            raise DataError(f"{path}:{number}: {len(fields)} columns, expected query-id, corpus-id, score")
        add_judgement(qrels, fields[0], fields[1], fields[2], f"{path}:{number}")
    if not qrels:
        raise DataError(f"{path} holds no judgement")
    return qrels


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
