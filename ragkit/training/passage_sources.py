"""Passages to train on: those of a corpus, or the documents of a collection in BEIR's layout."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.records import Passage, TextRecord
from ragkit.retrievers.training.examples import TrainingPassage, line_of
from ragkit.retrievers.training.near_duplicates import distinct_passages

MAX_PASSAGES = 100_000
_TRAIN = "train"


@dataclass(frozen=True, slots=True)
class PassagePool:
    """Passages that may be trained on, and how they were chosen.

    found: how many there were. held_out, short, repeated: left out, as in `DistinctPassages`. splits: those whose
    relevant passages were held out.
    """

    passages: tuple[TrainingPassage, ...]
    found: int
    held_out: int
    short: int
    repeated: int
    splits: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Hex SHA-256 of the passages, in their order."""
        digest = hashlib.sha256()
        for passage in self.passages:
            digest.update(line_of(passage))
        return digest.hexdigest()

    def to_json(self) -> dict[str, object]:
        """Counts, and the splits."""
        facts = {name: value for name, value in asdict(self).items() if name != "passages"}
        return {**facts, "splits": list(self.splits), "passages": len(self.passages)}


def corpus_pool(corpus: Corpus, limit: int = MAX_PASSAGES, seed: int = 0) -> PassagePool:
    """Texts of a corpus; at most `limit` of them, drawn at random, by document and place in it.

    Raises:
        DataError: it holds no text to train on.
    """
    keys = corpus.store.keys(kind="text").tolist()
    stored = sorted(
        corpus.store.passages(keys), key=lambda passage: (passage.document, passage.page, passage.start)
    )
    return _pool([_of_passage(passage) for passage in stored], (), (), limit, seed, str(corpus.path))


def beir_pool(
    folder: Path, held_out: Sequence[str] | None = None, limit: int = MAX_PASSAGES, seed: int = 0
) -> PassagePool:
    """Documents of a collection without those relevant to held-out splits; at most `limit`, drawn at random.

    Args:
        held_out: splits; None for all that there are but "train".

    Raises:
        DataError: the collection is malformed, has no such split, or nothing is left to train on.
    """
    splits = other_splits(folder) if held_out is None else tuple(held_out)
    relevant = {
        document
        for split in splits
        for grades in read_beir(folder, split).qrels.values()
        for document, grade in grades.items()
        if grade > 0
    }
    records = BeirCollection(folder, "", {}, {}).records()
    return _pool([_of_record(record) for record in records], splits, relevant, limit, seed, str(folder))


def other_splits(folder: Path) -> tuple[str, ...]:
    """Splits that a collection has judgements of, but for the one that is there to train on."""
    return tuple(sorted(path.stem for path in (folder / "qrels").glob("*.tsv") if path.stem != _TRAIN))


def _pool(
    passages: Sequence[TrainingPassage],
    splits: tuple[str, ...],
    held_out: Collection[str],
    limit: int,
    seed: int,
    origin: str,
) -> PassagePool:
    left = distinct_passages(passages, held_out)
    if not left.passages:
        raise DataError(
            f"{origin} has no passage to train on: of {len(passages)}, {left.held_out} are held out, {left.short} "
            f"are too short and {left.repeated} repeat others"
        )
    chosen = left.passages
    if limit < len(chosen):
        drawn = random.Random(seed).sample(range(len(chosen)), limit)
        chosen = tuple(chosen[number] for number in sorted(drawn))
    return PassagePool(chosen, len(passages), left.held_out, left.short, left.repeated, splits)


def _of_passage(passage: Passage) -> TrainingPassage:
    """Its id says where it stands, so that it stays as long as the document is cut in the same way."""
    id_ = f"{passage.document}#{passage.page}:{passage.start}-{passage.end}"
    return TrainingPassage(id_, passage.text, passage.title, passage.document)


def _of_record(record: TextRecord) -> TrainingPassage:
    """Where there is a title alone, it is the text."""
    text, title = (record.text, record.title) if record.text.strip() else (record.title, "")
    return TrainingPassage(record.id, text, title, record.id)
