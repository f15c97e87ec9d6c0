"""Losses over lists of passages that a teacher has scored.

Tamber et al., "Teaching dense retrieval models to specialize with listwise distillation and LLM data
augmentation", arXiv 2502.19712, as its published code computes them.

Shapes: B questions with lists of up to L passages, U distinct passages in the batch. lists, int64 (B, L), holds
the number (0 to U - 1) of each passage, the positive first, and -1 where a list is shorter. teacher, float64
(B, L), holds scores from 0 to 1: in float32 one at a mask's threshold may fall to its other side. Student scores
are cosines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragkit.extras import require

if TYPE_CHECKING:
    from torch import Tensor

# Of the positive's score: what of a question's list is above it is no negative of the question.
THRESHOLD = 0.6
Method = Literal["listwise", "infonce", "margin-mse"]


@dataclass(frozen=True, slots=True)
class LossSettings:
    """method "listwise": KL divergence and, `contrastive_weight` times, InfoNCE with the teacher's masks.

    "infonce": InfoNCE alone, in which only copies of a question's own positive are masked. "margin-mse": the
    squared difference of teacher's and student's margins (Hofstätter et al., arXiv 2010.02666). threshold: a
    passage of the question's own list that the teacher scores above this share of the positive's score is no
    negative of the question.
    """

    method: Method = "listwise"
    student_temperature: float = 0.05
    teacher_temperature: float = 0.3
    contrastive_temperature: float = 0.01
    contrastive_weight: float = 0.1
    threshold: float = THRESHOLD


@dataclass(frozen=True, slots=True)
class LossParts:
    """Means over the batch's questions; listwise is 0 for a method without it, and contrastive likewise."""

    total: Tensor
    listwise: Tensor
    contrastive: Tensor


def batch_loss(scores: Tensor, lists: Tensor, teacher: Tensor, settings: LossSettings) -> LossParts:
    """The loss of a batch. scores: (B, U), of every question with every distinct passage of the batch."""
    of_lists = scores.gather(1, lists.clamp(min=0))
    present = lists >= 0
    nothing = scores.new_zeros(())
    if settings.method == "margin-mse":
        mse = margin_mse(of_lists, teacher, present)
        return LossParts(mse, mse, nothing)
    temperature = settings.contrastive_temperature
    if settings.method == "infonce":
        contrastive = info_nce(scores, lists, own_positives(lists, scores.shape[1]), temperature)
        return LossParts(contrastive, nothing, contrastive)
    no_negatives = teacher_masks(lists, teacher, scores.shape[1], settings.threshold)
    contrastive = info_nce(scores, lists, no_negatives, temperature)
    listwise = listwise_kl(of_lists, teacher, present, settings.student_temperature, settings.teacher_temperature)
    return LossParts(listwise + settings.contrastive_weight * contrastive, listwise, contrastive)


def listwise_kl(
    scores: Tensor, teacher: Tensor, present: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Mean over lists of the divergence KL(teacher || student) of the softmaxes over a list.

    All (B, L); present: where a list has a passage. In float64, and without the factor of a squared temperature
    that sentence-transformers' DistillKLDivLoss has.
    """
    minus_infinity = float("-inf")
    wanted = (teacher.double() / teacher_temperature).masked_fill(~present, minus_infinity).log_softmax(1)
    given = (scores.double() / student_temperature).masked_fill(~present, minus_infinity).log_softmax(1)
    # Where there is no passage both are minus infinity, and their difference would not be a number.
    difference = (wanted - given).masked_fill(~present, 0.0)
    return (wanted.exp() * difference).sum(1).mean().to(scores.dtype)


def info_nce(scores: Tensor, lists: Tensor, no_negatives: Tensor, temperature: float) -> Tensor:
    """Mean over questions of the cross-entropy of the positive against all that the batch holds.

    Negatives of a question: the positives of all others and all other passages of all lists, each as often as it
    stands there, but for those in no_negatives, bool (B, U). The question's own positive always counts, once.
    """
    torch = require("torch")
    logits = scores.double() / temperature
    positives = lists[:, :1]
    counts = torch.bincount(lists[lists >= 0], minlength=scores.shape[1])
    # A passage that stands n times adds n times its exponential: the logarithm of n goes to its logit.
    negatives = (logits + counts.double().log()).masked_fill(no_negatives, float("-inf"))
    positive = logits.gather(1, positives)
    everything = torch.cat([positive, negatives], dim=1).logsumexp(1)
    loss: Tensor = (everything - positive[:, 0]).mean().to(scores.dtype)
    return loss


def own_positives(lists: Tensor, num_passages: int) -> Tensor:
    """bool (B, U): each question's positive."""
    torch = require("torch")
    marked = torch.zeros(len(lists), num_passages, dtype=torch.bool, device=lists.device)
    positives: Tensor = marked.scatter(1, lists[:, :1], True)
    return positives


def teacher_masks(lists: Tensor, teacher: Tensor, num_passages: int, threshold: float) -> Tensor:
    """bool (B, U): each question's positive, and what of its list the teacher scores above its threshold."""
    torch = require("torch")
    good = (teacher > threshold * teacher[:, :1]) & (lists >= 0)
    good[:, 0] = True
    hits = torch.zeros(len(lists), num_passages, dtype=torch.int64, device=lists.device)
    masks: Tensor = hits.scatter_add(1, lists.clamp(min=0), good.long()) > 0
    return masks


def margin_mse(scores: Tensor, teacher: Tensor, present: Tensor) -> Tensor:
    """Mean over all negatives of the squared difference of teacher's and student's margin to the positive.

    All (B, L). Margins of cosines and of scores from 0 to 1 are of one size.
    """
    student_margins = scores[:, :1] - scores[:, 1:]
    teacher_margins = teacher[:, :1] - teacher[:, 1:]
    squared = (student_margins - teacher_margins).square().masked_fill(~present[:, 1:], 0.0)
    return squared.sum() / present[:, 1:].sum().clamp(min=1)
