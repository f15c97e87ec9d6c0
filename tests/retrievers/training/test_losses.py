"""Losses of listwise distillation: equal to the published code, and cases worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.retrievers.training.losses import (
    LossSettings,
    batch_loss,
    info_nce,
    listwise_kl,
    margin_mse,
    own_positives,
    teacher_masks,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "cadet"
CASES = json.loads((GOLDEN / "losses.json").read_text())["cases"]


def numbered(ids: np.ndarray, length: int) -> tuple[torch.Tensor, list[int]]:
    """Lists of numbers of distinct ids, and at which row of the passages each of these is first."""
    distinct, first, numbers = np.unique(ids, return_index=True, return_inverse=True)
    assert len(distinct) == len(first)
    return torch.tensor(numbers.reshape(-1, length)), first.tolist()


def assert_near(gradient: torch.Tensor, expected: np.ndarray) -> None:
    """To 1e-5 of the largest, for these go up to 20."""
    assert np.abs(gradient.numpy() - expected).max() < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 2e-6), ("float32", 1e-5)])
def test_losses_and_gradients_equal_the_published_code(case: str, dtype: str, tolerance: float) -> None:
    golden = np.load(GOLDEN / f"loss_{case}.npz", allow_pickle=False)
    queries, passages = (
        torch.tensor(golden[name].astype(dtype), requires_grad=True) for name in ("query", "passages")
    )
    lists, first = numbered(golden["ids"], int(golden["list_length"]))
    teacher = torch.tensor(golden["teacher"])
    parts = batch_loss(queries @ passages[first].T, lists, teacher, LossSettings())
    for name, value in (("contrastive", parts.contrastive), ("listwise", parts.listwise), ("total", parts.total)):
        assert value.item() == pytest.approx(golden[f"{dtype}.{name}"].item(), rel=tolerance, abs=tolerance)
        by_query, by_passage = torch.autograd.grad(value, (queries, passages), retain_graph=True)
        assert_near(by_query, golden[f"{dtype}.{name}.grad_query"])
        # Copies of a passage are one row here: what all copies get there goes to the first.
        expected = np.zeros_like(golden["passages"])
        numbers = lists.flatten().tolist()
        np.add.at(expected, np.array(first)[numbers], golden[f"{dtype}.{name}.grad_passage"])
        assert_near(by_passage, expected)


@pytest.mark.parametrize("case", CASES)
def test_masks_equal_the_published_ones(case: str) -> None:
    golden = np.load(GOLDEN / f"loss_{case}.npz", allow_pickle=False)
    lists, first = numbered(golden["ids"], int(golden["list_length"]))
    masked = teacher_masks(lists, torch.tensor(golden["teacher"]), len(first), 0.6).numpy()
    kept_negatives = ~masked[:, lists[:, 1:].flatten()]
    assert (kept_negatives == golden["hard_negative_kept_for_query"]).all()
    kept_positives = ~masked[:, lists[:, 0]]
    off_diagonal = ~np.eye(len(lists), dtype=bool)
    assert (kept_positives == golden["positive_kept_for_query"])[off_diagonal].all()


def test_kl_by_hand() -> None:
    scores = teacher = torch.tensor([[1.0, 0.0]])
    present = torch.ones(1, 2, dtype=torch.bool)
    p = 1 / (1 + math.exp(-1 / 0.3))
    q = 1 / (1 + math.exp(-1 / 0.05))
    by_hand = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert listwise_kl(scores, teacher, present, 0.05, 0.3).item() == pytest.approx(by_hand, rel=1e-6)
    assert listwise_kl(scores, teacher, present, 0.3, 0.3).item() == pytest.approx(0, abs=1e-12)


def test_a_teacher_of_one_mind_wants_all_alike() -> None:
    teacher, present = torch.full((1, 4), 0.7), torch.ones(1, 4, dtype=torch.bool)
    assert listwise_kl(torch.full((1, 4), 0.2), teacher, present, 0.05, 0.3).item() == pytest.approx(0, abs=1e-12)
    scores = torch.tensor([[0.1, 0.0, 0.0, 0.0]])
    q = np.exp([2, 0, 0, 0]) / (math.exp(2) + 3)
    by_hand = float(np.mean(np.log(0.25 / q)))
    assert listwise_kl(scores, teacher, present, 0.05, 0.3).item() == pytest.approx(by_hand, rel=1e-6)


def test_a_shorter_list_is_as_if_the_rest_were_not_there() -> None:
    scores, teacher = torch.tensor([[0.5, 0.1, 0.9]]), torch.tensor([[1.0, 0.2, 0.7]])
    present = torch.tensor([[True, True, False]])
    short = listwise_kl(scores[:, :2], teacher[:, :2], present[:, :2], 0.05, 0.3)
    assert listwise_kl(scores, teacher, present, 0.05, 0.3).item() == pytest.approx(short.item(), rel=1e-12)
    lists = torch.tensor([[0, 1, -1]])
    whole = torch.tensor([[0.5, 0.1]], requires_grad=True)
    for method in ("listwise", "infonce", "margin-mse"):
        settings = LossSettings(method=method)  # type: ignore[arg-type]
        long_list = batch_loss(whole, lists, torch.tensor([[1.0, 0.2, 0.0]]), settings).total
        short_list = batch_loss(whole, lists[:, :2], torch.tensor([[1.0, 0.2]]), settings).total
        assert long_list.item() == pytest.approx(short_list.item(), rel=1e-6)
        assert torch.isfinite(torch.autograd.grad(long_list, whole)[0]).all()


def test_the_threshold_is_strict() -> None:
    teacher = torch.tensor([[1.0, 0.61, 0.60, 0.1]], dtype=torch.float64)
    assert teacher_masks(torch.tensor([[3, 0, 1, 2]]), teacher, 4, 0.6).tolist() == [[True, False, False, True]]


def test_info_nce_by_hand() -> None:
    """Question 0 does not repel passage 1, which is good for it; passage 2 is in both lists and counts twice."""
    scores = torch.tensor([[0.03, 0.02, 0.01], [0.01, 0.03, 0.02]])
    lists, teacher = torch.tensor([[0, 1, 2], [1, 2, -1]]), torch.tensor([[1.0, 0.9, 0.1], [1.0, 0.1, 0.0]])
    masks = teacher_masks(lists, teacher, 3, 0.6)
    first = -math.log(math.exp(3) / (math.exp(3) + 2 * math.exp(1)))
    second = -math.log(math.exp(3) / (math.exp(3) + math.exp(1) + 2 * math.exp(2)))
    assert info_nce(scores, lists, masks, 0.01).item() == pytest.approx((first + second) / 2, rel=1e-6)
    plain = -math.log(math.exp(3) / (math.exp(3) + 2 * math.exp(2) + 2 * math.exp(1)))
    by_method = batch_loss(scores, lists, teacher, LossSettings(method="infonce")).total
    assert by_method.item() == pytest.approx((plain + second) / 2, rel=1e-6)


def test_two_questions_of_one_positive_do_not_repel_it() -> None:
    lists = torch.tensor([[0, 1], [0, 2]])
    masked = own_positives(lists, 3)
    assert masked.tolist() == [[True, False, False], [True, False, False]]
    scores = torch.zeros(2, 3)
    # The positive, passage 1 and passage 2.
    assert info_nce(scores, lists, masked, 0.01).item() == pytest.approx(math.log(3), rel=1e-6)


def test_margin_mse_by_hand() -> None:
    scores, teacher = (
        torch.tensor([[0.9, 0.4, 0.0], [0.5, 0.5, 9.0]]),
        torch.tensor([[1.0, 0.3, 0.2], [0.8, 0.6, 0]]),
    )
    present = torch.tensor([[True, True, True], [True, True, False]])
    by_hand = ((0.5 - 0.7) ** 2 + (0.9 - 0.8) ** 2 + (0.0 - 0.2) ** 2) / 3
    assert margin_mse(scores, teacher, present).item() == pytest.approx(by_hand, rel=1e-5)
