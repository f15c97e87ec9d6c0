"""Judgements in files of either form: TREC's (``query 0 document grade``) and BEIR's (three columns with tabs)."""

from __future__ import annotations

from pathlib import Path

from ragkit.errors import DataError
from ragkit.eval.sets.trec import Qrels, add_judgement, numbered_lines, read_qrels

_BEIR_COLUMNS = "query-id, corpus-id, score"


def read_judgements(path: Path) -> Qrels:
    """Read a file of judgements in TREC's form or BEIR's, as its first line tells.

    Raises:
        DataError: the first line fits neither form, or both; a line is malformed; there is no judgement.
    """
    first = next((line for _, line in numbered_lines(path)), None)
    if first is None:
        raise DataError(f"{path} holds no judgement")
    fields, words = first.split("\t"), first.split()
    is_beir, is_trec = len(fields) == 3, len(words) == 4
    if is_beir and is_trec:
        raise DataError(
            f"{path}: {first!r} can be read as TREC's four columns and as BEIR's three; begin a file in BEIR's "
            "form with the line query-id<TAB>corpus-id<TAB>score, or write no tabs in one of TREC's form"
        )
    if not is_beir and not is_trec:
        raise DataError(
            f"{path}: {len(words)} columns in {first!r}; judgements have four (query, 0, document, grade: TREC's "
            f"form) or three with tabs between them ({_BEIR_COLUMNS}: BEIR's)"
        )
    return read_beir_qrels(path) if is_beir else read_qrels(path)


def read_beir_qrels(path: Path) -> Qrels:
    """Read a file of judgements in BEIR's form, with or without a header.

    Raises:
        DataError: a line is malformed, a query judges a document twice, or there is no judgement.
    """
    qrels: Qrels = {}
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if number == 1 and fields[-1] == "score":
            continue
        if len(fields) != 3:
            raise DataError(f"{path}:{number}: {len(fields)} columns, expected {_BEIR_COLUMNS}")
        add_judgement(qrels, fields[0], fields[1], fields[2], f"{path}:{number}")
    if not qrels:
        raise DataError(f"{path} holds no judgement")
    return qrels
