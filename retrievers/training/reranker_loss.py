"""The loss of a list for a model that scores question and passage together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragkit.extras import require
from ragkit.retrievers.training.losses import listwise_kl, margin_mse

if TYPE_CHECKING:
    from torch import Tensor

RerankerMethod = Literal["listwise", "margin-mse"]


@dataclass(frozen=True, slots=True)
class RerankerLossSettings:
    """method "listwise": KL divergence of the softmaxes of teacher and student, divided by their temperatures.

    "margin-mse": the squared difference of their margins to the positive (arXiv 2010.02666), the student's
    divided by its temperature. positive_weight: how often the cross-entropy of the positive is added. The
    student's temperature is 1, for a logit has no bounds as a cosine has.
    """

    method: RerankerMethod = "listwise"
    teacher_temperature: float = 0.3
    student_temperature: float = 1.0
    positive_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RerankerLoss:
    """listwise: of the teacher's scores, whatever the method; positive: the cross-entropy, before its weight."""

    total: Tensor
    listwise: Tensor
    positive: Tensor


def reranker_loss(logits: Tensor, teacher: Tensor, settings: RerankerLossSettings) -> RerankerLoss:
    """The loss of one list, the positive first. logits, teacher: (L,), the teacher's from 0 to 1."""
    torch = require("torch")
    scores, wanted = logits[None], teacher[None]
    present = torch.ones_like(scores, dtype=torch.bool)
    if settings.method == "margin-mse":
        listwise = margin_mse(scores / settings.student_temperature, wanted, present)
    else:
        listwise = listwise_kl(scores, wanted, present, settings.student_temperature, settings.teacher_temperature)
    positive = -(logits / settings.student_temperature).log_softmax(0)[0]
    return RerankerLoss(listwise + settings.positive_weight * positive, listwise, positive)
