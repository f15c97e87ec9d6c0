"""Token sequences against those of LoL's published code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from ragkit.retrievers.feedback.feedback_sequences import (
    FeedbackSequence,
    SequenceLimits,
    collate,
    feedback_sequence,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "lol"
CLS, SEP = 101, 102


@cache
def golden() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GOLDEN / "sequences.json").read_text("utf-8"))
    return read


@cache
def tokens(text: str) -> tuple[int, ...]:
    tokenizer = BertWordPieceTokenizer(str(GOLDEN / "wordpiece_vocab.txt"), lowercase=True)
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def sequence(query: str, passages: list[str]) -> FeedbackSequence:
    texts = [tokens(golden()["corpus"][name]) for name in passages]
    return feedback_sequence(tokens(golden()["queries"][query]), texts, CLS, SEP, SequenceLimits())


@pytest.mark.parametrize("number", range(9))
def test_sequences_equal_the_published_codes(number: int) -> None:
    expected = golden()["sequences"][number]
    found = sequence(expected["qid"], golden()["runs"][expected["qid"]])
    assert list(found.ids) == expected["input_ids"]
    assert list(found.types) == expected["token_type_ids"]
    assert list(found.separators) == expected["sep_indices"]


@pytest.mark.parametrize("number", range(4))
def test_batches_of_prefixes_equal_the_published_codes(number: int) -> None:
    expected = json.loads((GOLDEN / "collated.json").read_text("utf-8"))[number]
    rows = [
        sequence(query, golden()["runs"][query]).first(size)
        for query in expected["qids"]
        for size in expected["psg_nums"]
    ]
    batch = collate(rows, pad=0)
    np.testing.assert_array_equal(batch.ids, expected["input_ids"])
    np.testing.assert_array_equal(batch.mask, expected["attention_mask"])
    np.testing.assert_array_equal(batch.types, expected["token_type_ids"])
    np.testing.assert_array_equal(batch.separators, expected["sep_indices"])


def test_a_wider_batch_has_padding_more_and_nothing_else() -> None:
    rows = [sequence("q0", golden()["runs"]["q0"]).first(size) for size in (0, 1)]
    narrow = collate(rows, pad=7)
    wide = collate(rows, pad=7, least=narrow.ids.shape[1] + 3)
    for name, fill in (("ids", 7), ("mask", 0), ("types", 0)):
        whole, part = getattr(wide, name), getattr(narrow, name)
        np.testing.assert_array_equal(whole[:, :-3], part)
        assert (whole[:, -3:] == fill).all()
    np.testing.assert_array_equal(wide.separators, narrow.separators)
    np.testing.assert_array_equal(collate(rows, pad=7, least=1).ids, narrow.ids)


def test_smaller_revisions_are_prefixes_and_none_is_the_query_alone() -> None:
    whole = sequence("q0", golden()["runs"]["q0"])
    for count in range(6):
        part = whole.first(count)
        assert part.num_passages == count
        assert whole.ids[: len(part.ids)] == part.ids
        assert part.ids[-1] == SEP
    assert whole.first(0).ids == (CLS, *tokens(golden()["queries"]["q0"]), SEP)


def test_more_passages_than_there_was_room_for_are_all() -> None:
    """Where the published code fails with an IndexError."""
    whole = sequence("q1", golden()["runs"]["q1"])
    assert whole.num_passages == 3
    assert whole.first(4) == whole


def test_room_by_hand() -> None:
    limits = SequenceLimits(query=2, passage=3, total=9, least=2)
    found = feedback_sequence([11, 12, 13], [[21, 22, 23, 24], [31, 32]], CLS, SEP, limits)
    # The second passage would have one token left, which is fewer than two.
    assert found.ids == (CLS, 11, 12, SEP, 21, 22, 23, SEP)
    assert (found.types, found.separators) == ((0, 0, 0, 0, 1, 1, 1, 1), (3, 7))
