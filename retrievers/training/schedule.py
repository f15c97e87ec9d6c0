"""The learning rate over the steps of a training run."""

from __future__ import annotations

_LEAST_WARMUP = 10
_FLOOR = 0.1


def warmup_steps(steps_an_epoch: int) -> int:
    """Half an epoch, and at least ten steps (arXiv 2502.19712)."""
    return max(_LEAST_WARMUP, steps_an_epoch // 2)


def learning_rate_share(step: int, warmup: int, total: int) -> float:
    """Of the highest rate, at a step from 0: linear up over `warmup` steps, linear down to a tenth of it."""
    if step < warmup:
        return step / warmup
    return max(_FLOOR, (total - step) / max(1, total - warmup))
