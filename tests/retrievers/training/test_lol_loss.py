"""LoL's objective against the published code's numbers, by hand, and by its properties."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.errors import DataError
from ragkit.retrievers.training.lol_loss import LolSettings, lol_loss, pairwise_hinge, reformulation_losses

GOLDEN = Path(__file__).parents[2] / "golden" / "lol"
CASES = [path.stem for path in sorted(GOLDEN.glob("loss_*.npz"))]
TYPES = [("float64", 1e-9), ("float32", 1e-5)]


def test_there_are_five_golden_cases() -> None:
    assert [case[5] for case in CASES] == list("ABCDE")


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [0, 7])
def test_loss_and_gradient_equal_the_published_codes(case: str, dtype: str, tolerance: float, chunk: int) -> None:
    facts = json.loads((GOLDEN / f"{case}.json").read_text())
    data = np.load(GOLDEN / f"{case}.npz")
    candidates = torch.tensor(data["corpus_f64"]).to(getattr(torch, dtype))
    if facts["sparse"]:
        candidates = candidates.to_sparse_coo()
    revisions = 1 + facts["n_compare"]
    positives = [rows for rows in facts["positives_per_query"] for _ in range(revisions)]
    for weight in (0.0, 1.0, 1.5):
        vectors = torch.tensor(data["query_vectors_f64"]).to(getattr(torch, dtype)).requires_grad_()
        found = reformulation_losses(vectors, candidates, positives, chunk=chunk)
        parts = lol_loss(found.losses.reshape(-1, revisions), LolSettings(comparative=weight))
        parts.total.backward()
        name = f"{dtype}.lambda_cr{weight}"
        if f"{name}.loss" not in data:  # without revisions to compare there is one weight
            continue
        near = {"rtol": tolerance, "atol": tolerance}
        np.testing.assert_allclose(parts.total.item(), data[f"{name}.loss"], **near)
        np.testing.assert_allclose(parts.reformulation.item(), data[f"{name}.loss_pr"], **near)
        if revisions > 1 and weight:
            np.testing.assert_allclose(parts.comparative.item(), data[f"{name}.loss_cr"], **near)
        assert vectors.grad is not None
        np.testing.assert_allclose(vectors.grad.numpy(), data[f"{name}.grad"], **near)
        np.testing.assert_allclose(found.losses.detach().numpy(), data[f"{dtype}.per_revision_loss"], **near)
        np.testing.assert_array_equal(found.targets.numpy(), data[f"{dtype}.chosen_positive"])


@pytest.mark.parametrize("case", range(5))
def test_hinge_and_gradient_equal_the_published_codes(case: int) -> None:
    data = np.load(GOLDEN / "pairwise_hinge.npz")
    facts = json.loads((GOLDEN / "pairwise_hinge.json").read_text())[case]
    losses = torch.tensor(data[f"h{case}.loss"], requires_grad=True)
    hinges = pairwise_hinge(losses, facts["margin"])
    np.testing.assert_allclose(hinges.detach().numpy().ravel(), data[f"h{case}.none"], atol=1e-12)
    assert hinges.mean().item() == pytest.approx(facts["mean"], abs=1e-12)
    assert hinges.sum().item() == pytest.approx(facts["sum"], abs=1e-12)
    hinges.mean().backward()
    assert losses.grad is not None
    np.testing.assert_allclose(losses.grad.numpy(), data[f"h{case}.grad_wrt_loss"], atol=1e-12)


def test_hinge_by_hand() -> None:
    assert pairwise_hinge(torch.tensor([[1.0, 1.4]])).tolist() == [[0.0]]
    assert pairwise_hinge(torch.tensor([[1.4, 1.0]])).tolist() == [[pytest.approx(0.4)]]
    # 3 pairs: 2 - 1, 2 - 3, 1 - 3; two of them count as 0.
    assert lol_loss(torch.tensor([[2.0, 1.0, 3.0]]), LolSettings()).comparative.item() == pytest.approx(1 / 3)


def test_detached_loss_with_less_feedback_is_not_pushed_up() -> None:
    for detach, expected in ((False, [[1.0, -1.0]]), (True, [[1.0, 0.0]])):
        losses = torch.tensor([[1.4, 1.0]], requires_grad=True)
        pairwise_hinge(losses, detach=detach).sum().backward()
        assert losses.grad is not None
        assert losses.grad.tolist() == expected


def test_the_lowest_positive_is_the_target_and_others_do_not_count() -> None:
    candidates = torch.tensor([[3.0], [1.0], [2.0], [0.5]])
    found = reformulation_losses(torch.tensor([[1.0], [-1.0]]), candidates, [[0, 1], [0, 1]])
    assert found.targets.tolist() == [1, 0]
    # exp(1) against exp(2) and exp(0.5); then exp(-3) against exp(-2) and exp(-0.5).
    by_hand = [np.log(1 + np.e + np.exp(-0.5)), np.log(1 + np.e + np.exp(2.5))]
    np.testing.assert_allclose(found.losses.numpy(), by_hand, rtol=1e-6)
    moved = candidates.clone()
    moved[0] = 1.5  # of the first query still not the lowest positive
    assert reformulation_losses(torch.tensor([[1.0]]), moved, [[0, 1]]).losses[0] == found.losses[0]


def test_scale_multiplies_scores() -> None:
    vectors, candidates = torch.randn(3, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    scaled = reformulation_losses(vectors, candidates, [[0], [1], [2]], scale=20.0)
    longer = reformulation_losses(vectors * 20, candidates, [[0], [1], [2]])
    torch.testing.assert_close(scaled.losses, longer.losses)


def test_queries_without_relevant_passages_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 revised queries have no relevant passage"):
        reformulation_losses(torch.ones(2, 1), torch.ones(3, 1), [[0], []])
