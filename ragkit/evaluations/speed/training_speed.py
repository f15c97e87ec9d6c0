"""`ragkit eval speed --training`: a step of training an embedder beside a bare loop over the same batch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ragkit.config import Config
from ragkit.devices import choose_placement
from ragkit.errors import RagkitError
from ragkit.eval.speed.timing import SpeedReport, compare, machine_facts
from ragkit.evaluations.speed.training_probe import TrainingPlan, command_of

_MEGABYTE = 1_000_000
# The same for both; what a laptop's memory holds at once without pieces.
_QUESTIONS, _LIST_LENGTH, _PASSAGE_TOKENS, _PIECE_TOKENS = 16, 8, 128, 4096


def measure_training_speed(config: Config, repeats: int = 5) -> SpeedReport:
    """Seconds a step, tokens a second and peak memory of both, in processes of their own that take turns.

    The bare loop embeds the batch at once, as the model is loaded by its library, with cross-entropy over its
    passages: no teacher, no masks, no pieces. Precision and optimiser are the same.

    Raises:
        RagkitError: one of the processes ended.
    """
    placement = choose_placement(config.embedder.device, config.embedder.dtype)
    plan = TrainingPlan(
        config.embedder.name,
        placement.device,
        placement.dtype,
        _QUESTIONS,
        _LIST_LENGTH,
        _PASSAGE_TOKENS,
        _PIECE_TOKENS,
    )
    with _started("ours", plan) as ours, _started("bare", plan) as bare:
        comparison = compare(
            "a step of training", lambda _: ours.step(), lambda _: bare.step(), repeats=repeats, unit="steps"
        )
        facts = {
            "model": plan.model,
            "dtype": plan.dtype,
            "batch": f"{plan.num_questions} questions, {plan.list_length} passages each",
            "tokens": f"{ours.tokens} ours, {bare.tokens} bare",
            "ragkit tokens/s": round(ours.tokens / comparison.ours_median_s),
            "bare tokens/s": round(bare.tokens / comparison.bare_median_s),
            "ragkit peak MB": round(ours.peak_bytes() / _MEGABYTE),
            "bare peak MB": round(bare.peak_bytes() / _MEGABYTE),
        }
    return SpeedReport((comparison,), {**machine_facts(), **facts})


@dataclass(slots=True)
class _Process:
    side: str
    process: subprocess.Popen[str]
    tokens: int = field(default=0)

    def step(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.tokens = int(self.hear()["tokens"])

    def peak_bytes(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return int(self.hear()["peak_bytes"])

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise RagkitError(f"the process that measured {self.side} ended with status {status}")
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def _started(side: str, plan: TrainingPlan) -> Iterator[_Process]:
    with subprocess.Popen(
        command_of(side, plan), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            started = _Process(side, process)
            started.hear()
            yield started
        finally:
            process.kill()
