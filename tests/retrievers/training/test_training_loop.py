"""The loop itself, on one number that is to become another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from ragkit.retrievers.training.training_loop import Schedule, TrainingLoop


class Number:
    """A `Trainable`: each batch pulls the number to its own."""

    num_tokens = 0
    num_train = num_held_out = 4
    steps_an_epoch = 4

    def __init__(self, told: Mapping[int, float] = {}) -> None:
        """told: held-out losses that are said in place of the true one, by how often it was asked."""
        self.value = torch.nn.Parameter(torch.zeros(1))
        self.parameters = {"value": self.value}
        self._told, self._asked = told, 0

    def batches(self, epoch: int) -> Iterator[float]:
        yield from (1.0 + epoch + step for step in range(4))

    def gradients(self, batch: float) -> Mapping[str, float]:
        loss = (self.value - batch).square().sum()
        torch.autograd.backward(loss)
        return {"loss": loss.item()}

    def held_out(self) -> Mapping[str, float]:
        self._asked += 1
        return {"total": self._told.get(self._asked - 1, float((self.value - 1.0).abs().item()))}


def schedule(epochs: int, patience: int = 9) -> Schedule:
    return Schedule(0.1, 0.0, 1.0, epochs, patience, warmup_steps=2)


def test_the_weights_kept_are_those_of_the_lowest_loss(tmp_path: Path) -> None:
    trained = Number({0: 3.0, 1: 1.0, 2: 2.0})
    outcome = TrainingLoop(trained, schedule(2), tmp_path).finish()
    assert (outcome.untrained, outcome.best, outcome.best_epoch, outcome.steps) == (3.0, 1.0, 1, 8)


def test_a_loss_that_is_no_number_is_never_the_lowest(tmp_path: Path) -> None:
    trained = Number({0: 3.0, 1: math.nan, 2: 2.0, 3: math.nan})
    outcome = TrainingLoop(trained, schedule(3), tmp_path).finish()
    assert (outcome.best, outcome.best_epoch) == (2.0, 2)


@pytest.mark.parametrize("killed_at", [1, 3, 6])
def test_killed_within_an_epoch_it_goes_on_to_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr("ragkit.retrievers.training.training_loop._CHECKPOINT_EVERY_S", 0.0)
    whole = Number()
    expected = TrainingLoop(whole, schedule(3), tmp_path / "whole").finish()

    class KilledError(Exception):
        pass

    class Dying(Number):
        steps = 0

        def gradients(self, batch: float) -> Mapping[str, float]:
            self.steps += 1
            if self.steps > killed_at:
                raise KilledError
            return super().gradients(batch)

    with pytest.raises(KilledError):
        TrainingLoop(Dying(), schedule(3), tmp_path / "cut").finish()
    again = Number()
    outcome = TrainingLoop(again, schedule(3), tmp_path / "cut").finish()
    torch.testing.assert_close(again.value, whole.value, rtol=0, atol=0)
    assert (outcome.best, outcome.best_epoch, outcome.steps) == (expected.best, expected.best_epoch, 12)
