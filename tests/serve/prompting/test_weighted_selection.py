from __future__ import annotations

import math

import pytest

from ragkit.serve.prompting.weighted_selection import mean_logprob, retrieval_shares, select_answer


def test_two_answers_by_hand() -> None:
    # Softmax of 0 and ln 3 is 1/4 and 3/4; confidences 1/2 and 1/8.
    selection = select_answer([0.0, math.log(3)], [math.log(0.5), math.log(0.125)])
    assert selection.weights == pytest.approx([0.125, 0.09375])
    assert selection.index == 0


def test_large_scores_do_not_overflow() -> None:
    assert retrieval_shares([1000.0, 1000.0]).tolist() == [0.5, 0.5]


def test_an_answer_without_tokens_is_never_chosen() -> None:
    assert mean_logprob([]) == -math.inf
    assert select_answer([9.0, 0.0], [mean_logprob([]), mean_logprob([-1.0, -3.0])]).index == 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_an_answer_of_broken_logprobs_is_never_chosen(broken: float) -> None:
    assert select_answer([0.9, 0.1], [broken, -5.0]).index == 1


@pytest.mark.parametrize(("scores", "logprobs"), [([], []), ([1.0], [])])
def test_one_score_a_page_is_needed(scores: list[float], logprobs: list[float]) -> None:
    with pytest.raises(ValueError, match="give one of each a page"):
        select_answer(scores, logprobs)
