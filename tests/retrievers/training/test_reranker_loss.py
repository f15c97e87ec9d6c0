"""The loss of a list: worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ragkit.retrievers.training.reranker_loss import RerankerLossSettings, reranker_loss

# Softmax of (ln 3, 0) is (3/4, 1/4); of the teacher's (1, 0) at 1 / ln 4 it is (4/5, 1/5).
LOGITS, TEACHER = torch.tensor([math.log(3), 0.0]), torch.tensor([1.0, 0.0])
KL = 0.8 * math.log(0.8 / 0.75) + 0.2 * math.log(0.2 / 0.25)


def test_divergence_and_cross_entropy() -> None:
    settings = RerankerLossSettings(teacher_temperature=1 / math.log(4), positive_weight=0.5)
    loss = reranker_loss(LOGITS, TEACHER, settings)
    assert loss.listwise.item() == pytest.approx(KL, rel=1e-5)
    assert loss.positive.item() == pytest.approx(math.log(4 / 3))
    assert loss.total.item() == pytest.approx(KL + 0.5 * math.log(4 / 3), rel=1e-5)


def test_the_students_temperature_divides_its_logits() -> None:
    settings = RerankerLossSettings(teacher_temperature=1 / math.log(4), student_temperature=2.0)
    loss = reranker_loss(2 * LOGITS, TEACHER, settings)
    assert loss.total.item() == pytest.approx(KL + math.log(4 / 3), rel=1e-5)


def test_margin_mse() -> None:
    # Margins of the student are 2 and 5, of the teacher 0.5 and 1: (1.5^2 + 4^2) / 2.
    settings = RerankerLossSettings("margin-mse", positive_weight=0.0)
    loss = reranker_loss(torch.tensor([3.0, 1.0, -2.0]), torch.tensor([1.0, 0.5, 0.0]), settings)
    assert loss.total.item() == pytest.approx((1.5**2 + 4**2) / 2)
