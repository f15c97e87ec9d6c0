"""Agreement of a judge with labels, by hand, and the labelled set that is shipped."""

from __future__ import annotations

from collections import Counter

import pytest

from ragkit.eval.judging.judge import Verdict
from ragkit.eval.judging.judge_agreement import labelled_answers, measure_agreement

C, P, W, U = Verdict.correct, Verdict.partly, Verdict.wrong, Verdict.unreadable


def test_kappa_by_hand():
    # Cohen's 2 x 2 case: 20 and 15 of 50 agree, so po = 0.7; pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa = 0.4.
    labels = [C] * 25 + [W] * 25
    verdicts = [C] * 20 + [W] * 5 + [C] * 10 + [W] * 15
    found = measure_agreement(labels, verdicts)
    assert found.share == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.kappa_low is not None
    assert found.kappa_high is not None
    # By Fleiss, Cohen and Everitt (1969) the standard error is 0.1266: 0.4 -+ 0.248.
    assert found.kappa_low == pytest.approx(0.152, abs=0.03)
    assert found.kappa_high == pytest.approx(0.648, abs=0.03)
    assert found.table == (
        ("correct", "correct", 20),
        ("correct", "wrong", 5),
        ("wrong", "correct", 10),
        ("wrong", "wrong", 15),
    )


def test_three_labels_by_hand():
    # po = 3/4. Labels 2 1 1, verdicts 1 2 1: pe = (2*1 + 1*2 + 1*1) / 16 = 5/16; kappa = (12 - 5) / (16 - 5).
    assert measure_agreement([C, C, P, W], [C, P, P, W]).kappa == pytest.approx(7 / 11)


def test_an_unreadable_verdict_agrees_with_nothing_and_is_in_no_kappa():
    found = measure_agreement([C, C, W, W], [C, U, W, W])
    assert (found.num_answers, found.num_unreadable, found.share, found.kappa) == (4, 1, 0.75, 1.0)


def test_kappa_is_not_defined_where_all_say_the_same_or_nothing_is_readable():
    for verdicts, share in (([C, C], 1.0), ([U, U], 0.0)):
        found = measure_agreement([C, C], verdicts)
        assert (found.share, found.kappa, found.kappa_low, found.kappa_high) == (share, None, None, None)


def test_a_judge_that_always_says_the_same_is_no_better_than_chance():
    labels = [one.label for one in labelled_answers()]
    assert measure_agreement(labels, [C] * len(labels)).kappa == pytest.approx(0.0)


def test_labels_are_needed():
    with pytest.raises(ValueError, match="at least one"):
        measure_agreement([], [])


def test_the_shipped_set_has_every_label_and_kind():
    rows = labelled_answers()
    assert len({row.id for row in rows}) == len(rows) >= 40
    assert min(Counter(row.label for row in rows)[label] for label in (C, P, W)) >= 8
    assert {"paraphrase", "refusal", "number format", "part", "instruction"} <= {row.kind for row in rows}
