"""LoL's objective: more feedback must not make the loss of a revised query grow.

Zhu, Pang, Lan, Shen and Cheng, "LoL: A comparative regularization loss over query reformulation losses for
pseudo-relevance feedback", SIGIR 2022 (arXiv 2204.11545), as its published code computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from ragkit.errors import DataError
from ragkit.extras import require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LolSettings:
    """How losses are made and weighed.

    comparative: weight of the comparative term; 0 leaves it out. margin: by which the loss with more feedback has
    to be lower. detach: whether the loss with less feedback is taken as given, instead of being pushed up as well.
    scale: what scores are multiplied by before the softmax. The paper's 1 is for vectors of large norm: cosines
    lie between -1 and 1, and a softmax of these over thousands of passages is nearly flat.
    """

    comparative: float = 1.0
    margin: float = 0.0
    detach: bool = False
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class RevisionLosses:
    """losses: (r,), one a revised query. targets: int64 (r,), the passage that each had to find."""

    losses: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class LolParts:
    """total: what is trained by; the others are its parts before weighing. by_revision: (queries, revisions)."""

    total: Tensor
    reformulation: Tensor
    comparative: Tensor
    by_revision: Tensor


def reformulation_losses(
    revised: Tensor, candidates: Tensor, positives: Sequence[Sequence[int]], scale: float = 1.0, chunk: int = 0
) -> RevisionLosses:
    """-log softmax of the lowest-scored positive over all candidates but the other positives.

    Args:
        revised: (r, dim).
        candidates: (c, dim), frozen; dense or a sparse COO tensor.
        positives: for each revised query rows of candidates, at least one, each once.
        chunk: candidates whose scores are in memory at a time, 0 for all; changes no result. The scores of a chunk
            are made again for its gradient.

    Raises:
        DataError: a query has no positive.
    """
    torch = require("torch")
    if not all(positives):
        raise DataError(
            f"{sum(not rows for rows in positives)} of {len(positives)} revised queries have no relevant passage "
            "among the candidates; leave their queries out"
        )
    width = max(map(len, positives))
    # Repeating the first positive changes neither the lowest score nor what is masked.
    rows = torch.tensor([[*each, *[each[0]] * (width - len(each))] for each in positives], device=revised.device)
    own = _positive_scores(revised, candidates, rows) * scale
    places = own.detach().argmin(dim=1, keepdim=True)
    lowest = own.gather(1, places)
    size = chunk or candidates.shape[0]
    sums = [lowest.squeeze(1)]
    for start in range(0, candidates.shape[0], size):
        piece = candidates if size >= candidates.shape[0] else _rows(candidates, start, size)
        if chunk:
            sums.append(
                torch.utils.checkpoint.checkpoint(
                    _log_sum, revised, piece, rows - start, scale, use_reentrant=False
                )
            )
        else:
            sums.append(_log_sum(revised, piece, rows, scale))
    losses = torch.logsumexp(torch.stack(sums), dim=0) - lowest.squeeze(1)
    return RevisionLosses(losses, rows.gather(1, places).squeeze(1))


def pairwise_hinge(losses: Tensor, margin: float = 0.0, detach: bool = False) -> Tensor:
    """(n, pairs) of max(0, loss i - loss j + margin) for i < j, in the order of i, then j.

    Args:
        losses: (n, m), those with the most feedback first.
    """
    torch = require("torch")
    pairs = list(combinations(range(losses.shape[1]), 2))
    more = losses[:, [first for first, _ in pairs]]
    less = losses[:, [second for _, second in pairs]]
    return torch.clamp(more - (less.detach() if detach else less) + margin, min=0)


def lol_loss(losses: Tensor, settings: LolSettings) -> LolParts:
    """The mean loss plus the weighted mean hinge over all pairs of revisions, pairs of no hinge counted.

    Args:
        losses: (queries, revisions), those with the most feedback first.
    """
    reformulation = losses.mean()
    if losses.shape[1] > 1:
        comparative = pairwise_hinge(losses, settings.margin, settings.detach).mean()
    else:
        comparative = losses.new_zeros(())
    total = reformulation + settings.comparative * comparative
    return LolParts(total, reformulation, comparative, losses)


def _positive_scores(revised: Tensor, candidates: Tensor, rows: Tensor) -> Tensor:
    """(r, positives): dot products with these rows alone."""
    torch = require("torch")
    chosen = candidates.index_select(0, rows.flatten())
    if chosen.is_sparse:
        chosen = chosen.to_dense()
    own: Tensor = torch.einsum("rd,rpd->rp", revised, chosen.reshape(*rows.shape, -1))
    return own


def _rows(candidates: Tensor, start: int, size: int) -> Tensor:
    torch = require("torch")
    end = min(start + size, candidates.shape[0])
    picked: Tensor = candidates.index_select(0, torch.arange(start, end, device=candidates.device))
    return picked


def _log_sum(revised: Tensor, candidates: Tensor, rows: Tensor, scale: float) -> Tensor:
    """(r,): log of the sum of exp(scores) over the candidates that are in none of `rows`; others are not here."""
    torch = require("torch")
    scores = torch.matmul(candidates, revised.T).T * scale
    is_here = (rows >= 0) & (rows < candidates.shape[0])
    masked = torch.zeros(scores.shape[0], scores.shape[1] + 1, dtype=torch.bool, device=scores.device)
    masked.scatter_(1, rows.where(is_here, scores.shape[1]), value=True)
    return torch.logsumexp(scores.masked_fill(masked[:, :-1], -torch.inf), dim=1)
