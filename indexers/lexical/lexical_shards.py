"""Lexical shards: which terms occur in which passages how often, written once and memory-mapped.

A shard holds counts and nothing that depends on other passages, so it never grows old: BM25's weights are
made of the counts of all shards when a query is asked (`bm25_index`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ragkit.indexers.lexical.section_file import SectionWriter, damaged, open_sections
from ragkit.indexers.lexical.terms import VOTES, TermAnalyzer, runs_of, vote_of
from ragkit.indexers.lexical.vocabulary import IntArray, Vocabulary, number_terms
from ragkit.records import KeyArray

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LexicalShard:
    """The counts of some passages, in rows by ascending key.

    language, ngram: what the terms were made with. keys: int64 (n,). lengths: uint32 (n,), terms of each passage.
    votes: uint8 (n,), numbers in `terms.VOTES`. starts: int64 (number of terms + 1,), where the postings of a
    term begin. rows: uint32 (p,), ascending within a term. counts: uint8, uint16 or uint32 (p,).
    total_length: sum of lengths. vote_counts: how often each vote occurs. name: of the file, for errors.
    """

    language: str
    ngram: int
    keys: KeyArray
    lengths: NDArray[np.uint32]
    votes: NDArray[np.uint8]
    vocabulary: Vocabulary
    starts: IntArray
    rows: NDArray[np.uint32]
    counts: NDArray[Any]
    total_length: int
    vote_counts: tuple[int, ...]
    name: str = "a lexical shard in memory"

    def __len__(self) -> int:
        return len(self.keys)

    def alive(self, dead: KeyArray) -> Flags | None:
        """bool (n,), which passages are not among the dead (ascending); None where all of them live."""
        gone = self.rows_of(dead)
        if not len(gone):
            return None
        alive = np.ones(len(self), bool)
        alive[gone] = False
        return alive

    def rows_of(self, keys: KeyArray) -> IntArray:
        """The rows of those keys (ascending) that are here."""
        if not len(self):
            return np.zeros(0, np.int64)
        near = keys[np.searchsorted(keys, self.keys[0]) : np.searchsorted(keys, self.keys[-1], side="right")]
        places = np.searchsorted(self.keys, near)
        rows: IntArray = places[self.keys[places] == near]
        return rows


def build_shard(keys: KeyArray, texts: Sequence[str], analyzer: TermAnalyzer) -> LexicalShard:
    """Count the terms of one text for each key (ascending)."""
    runs: dict[str, int] = {}
    flat, sizes, votes = array("q"), array("q"), array("B")
    for text in texts:
        of_text = runs_of(text)
        flat.extend([runs.setdefault(run, len(runs)) for run in of_text])
        sizes.append(len(of_text))
        votes.append(vote_of(of_text))
    vocabulary, term_starts, terms = _terms_of_runs(runs, analyzer)
    owners, occurring = _expand(np.asarray(flat, np.int64), np.asarray(sizes, np.int64), term_starts, terms)
    lengths = np.bincount(owners, minlength=len(texts))
    places, counts = np.unique(occurring * max(1, len(texts)) + owners, return_counts=True)
    of_term, rows = np.divmod(places, max(1, len(texts)))
    cast = np.bincount(np.asarray(votes, np.uint8), minlength=len(VOTES))
    return LexicalShard(
        analyzer.language,
        analyzer.ngram,
        np.asarray(keys, np.int64),
        lengths.astype(np.uint32),
        np.asarray(votes, np.uint8),
        vocabulary,
        np.searchsorted(of_term, np.arange(len(vocabulary) + 1)),
        rows.astype(np.uint32),
        counts.astype(np.min_scalar_type(int(counts.max(initial=1)))),
        int(lengths.sum()),
        tuple(cast.tolist()),
    )


def _terms_of_runs(runs: dict[str, int], analyzer: TermAnalyzer) -> tuple[Vocabulary, IntArray, IntArray]:
    """The vocabulary; and the numbers of each run's terms: where they start, and all of them."""
    found: dict[str, int] = {}
    flat, sizes = array("q"), array("q")
    for terms in analyzer.terms_of_each(list(runs)):
        flat.extend([found.setdefault(term, len(found)) for term in terms])
        sizes.append(len(terms))
    vocabulary, numbers = number_terms(found)
    starts = np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))])
    return vocabulary, starts, numbers[np.asarray(flat, np.int64)]


def _expand(flat: IntArray, sizes: IntArray, starts: IntArray, terms: IntArray) -> tuple[IntArray, IntArray]:
    """For every occurrence of a term the number of its text, and of the term."""
    texts = np.repeat(np.arange(len(sizes)), sizes)
    widths = np.diff(starts)[flat]
    within = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
    return np.repeat(texts, widths), terms[np.repeat(starts[flat], widths) + within]


def shard_writer(
    file: BinaryIO,
    like: tuple[str, int],
    keys: KeyArray,
    lengths: NDArray[np.uint32],
    votes: NDArray[np.uint8],
    vocabulary: Vocabulary,
    starts: IntArray,
    counts_type: DTypeLike,
) -> SectionWriter:
    """Write all of a shard but its postings; the caller appends those to the sections "rows" and "counts".

    Args:
        like: language and ngram.
    """
    facts = {
        "language": like[0],
        "ngram": like[1],
        "total_length": int(lengths.sum()),
        "vote_counts": np.bincount(votes, minlength=len(VOTES)).tolist(),
        # In the head, which has a checksum: all else about the vocabulary depends on these.
        "widths": vocabulary.widths.tolist(),
        "firsts": vocabulary.firsts.tolist(),
    }
    small: dict[str, NDArray[Any]] = {
        "keys": keys,
        "lengths": lengths,
        "votes": votes,
        "blob": vocabulary.blob,
        "starts": starts,
    }
    layout: dict[str, tuple[DTypeLike, int]] = {
        name: (values.dtype, len(values)) for name, values in small.items()
    }
    num_postings = int(starts[-1])
    writer = SectionWriter(
        file, facts, layout | {"rows": (np.uint32, num_postings), "counts": (counts_type, num_postings)}
    )
    for name, values in small.items():
        writer.write(name, values)
    return writer


def save_shard(shard: LexicalShard, file: BinaryIO) -> None:
    """Write a shard that is in memory."""
    writer = shard_writer(
        file,
        (shard.language, shard.ngram),
        shard.keys,
        shard.lengths,
        shard.votes,
        shard.vocabulary,
        shard.starts,
        shard.counts.dtype,
    )
    writer.write("rows", shard.rows)
    writer.write("counts", shard.counts)


def open_shard(path: Path) -> LexicalShard:
    """A shard whose arrays stay on the disk. Raises as `section_file.open_sections`."""
    facts, arrays = open_sections(path)
    try:
        widths, firsts = (np.array(facts.pop(name), np.int64) for name in ("widths", "firsts"))
        vocabulary = Vocabulary(widths, firsts, arrays.pop("blob"))
        facts["vote_counts"] = tuple(facts["vote_counts"])
        parts: dict[str, Any] = {**facts, **arrays}
        shard = LexicalShard(**parts, vocabulary=vocabulary, name=str(path))
        fits = len(vocabulary) + 1 == len(shard.starts) and int(shard.starts[-1]) == len(shard.rows)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise damaged(path, error) from error
    if not fits:
        raise damaged(path, "its terms do not fit its postings")
    return shard
