"""Vocabularies: found, numbered and merged as a Python dict would."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ragkit.indexers.lexical.vocabulary import merge_vocabularies, number_terms

TERMS = st.lists(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12), unique=True, max_size=30)


def in_order(terms: set[str]) -> list[str]:
    return sorted(terms, key=lambda term: (len(term.encode()), term.encode()))


@given(TERMS, TERMS)
def test_terms_are_numbered_by_width_and_bytes(terms: list[str], others: list[str]):
    vocabulary, numbers = number_terms(terms)
    assert len(vocabulary) == len(terms)
    assert [in_order(set(terms))[number] for number in numbers.tolist()] == terms
    for term in {*terms, *others}:
        assert vocabulary.find(term) == (numbers[terms.index(term)] if term in terms else -1)


@given(st.lists(TERMS, min_size=1, max_size=4), st.randoms())
def test_merging_keeps_what_is_kept(lists: list[list[str]], random: object):
    kept = [np.array([random.random() < 0.7 for _ in terms], bool) for terms in lists]  # type: ignore[attr-defined]
    merged, numbers = merge_vocabularies([number_terms(terms)[0] for terms in lists], kept)
    wanted = [[term for term, keep in zip(in_order(set(terms)), keeps, strict=True) if keep]
              for terms, keeps in zip(lists, kept, strict=True)]  # fmt: skip
    union = in_order({term for terms in wanted for term in terms})
    assert len(merged) == len(union)
    assert [merged.find(term) for term in union] == list(range(len(union)))
    assert [[union[number] for number in own.tolist()] for own in numbers] == wanted
