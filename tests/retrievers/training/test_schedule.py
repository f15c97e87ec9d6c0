"""The learning rate, equal to the published schedule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.retrievers.training.schedule import learning_rate_share, warmup_steps

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "cadet" / "lr_schedule.json").read_text())


@pytest.mark.parametrize("case", GOLDEN)
def test_rates_equal_the_published_ones(case: str) -> None:
    steps, rates = GOLDEN[case]["optimiser_steps_per_epoch"], GOLDEN[case]["lr"]
    warmup, total = warmup_steps(steps), steps * int(case.rpartition("epochs")[2])
    assert [2e-4 * learning_rate_share(step, warmup, total) for step in range(len(rates))] == pytest.approx(rates)
