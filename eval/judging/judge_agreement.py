"""How far a judge agrees with answers that a person has labelled.

The labelled set is judge_labels.jsonl beside this file: questions, reference answers, answers and labels of our
own writing, a line each. It is small: read the interval, not the figure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.judging.judge import Verdict

_LABELS = (Verdict.correct, Verdict.partly, Verdict.wrong)
_NUM_RESAMPLES = 10_000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """kind: what the row tries, such as "paraphrase"."""

    id: str
    question: str
    golds: tuple[str, ...]
    answer: str
    label: Verdict
    kind: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often judge and person say the same.

    share: of all answers; an unreadable verdict agrees with no label. kappa: Cohen's, of the readable ones; with
    its interval None where it is not defined (everybody said one and the same). table: label, verdict, count.
    """

    num_answers: int
    num_unreadable: int
    share: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    table: tuple[tuple[str, str, int], ...]

    def to_json(self) -> dict[str, object]:
        return {
            "answers": self.num_answers,
            "unreadable": self.num_unreadable,
            "agreement": self.share,
            "kappa": self.kappa,
            "kappa_interval": None if self.kappa_low is None else [self.kappa_low, self.kappa_high],
            "label_verdict_count": [list(row) for row in self.table],
        }


def labelled_answers() -> list[LabelledAnswer]:
    """The set that ragkit ships."""
    text = resources.files("ragkit.eval.judging").joinpath("judge_labels.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        LabelledAnswer(
            row["id"], row["question"], tuple(row["golds"]), row["answer"], Verdict(row["label"]), row["kind"]
        )
        for row in rows
    ]


def measure_agreement(labels: Sequence[Verdict], verdicts: Sequence[Verdict], seed: int = 0) -> Agreement:
    """Compare verdicts with the labels of the same answers.

    Cohen's kappa (Educational and Psychological Measurement 20, 1960), and its 95 % interval by the percentile
    bootstrap over answers.

    Raises:
        ValueError: there are no labels, or not as many verdicts.
    """
    pairs = Counter(zip(labels, verdicts, strict=True))
    if not pairs:
        raise ValueError("agreement needs at least one labelled answer")
    counts = np.array([[pairs[label, verdict] for verdict in _LABELS] for label in _LABELS], np.int64)
    kappa, interval = _kappa(counts[None])[0], _kappa_interval(counts, seed)
    is_defined = bool(np.isfinite(kappa))
    return Agreement(
        len(labels),
        len(labels) - int(counts.sum()),
        int(np.trace(counts)) / len(labels),
        float(kappa) if is_defined else None,
        interval[0] if is_defined else None,
        interval[1] if is_defined else None,
        tuple((str(label), str(verdict), count) for (label, verdict), count in sorted(pairs.items())),
    )


def _kappa(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each of n tables, int64 (n, labels, labels) to float64 (n,); nan where chance alone agrees always."""
    totals = counts.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed = np.trace(counts, axis1=1, axis2=2) / totals
        chance = (counts.sum(axis=1) * counts.sum(axis=2)).sum(axis=1) / totals**2
        return np.where(chance < 1, (agreed - chance) / (1 - chance), np.nan)


def _kappa_interval(counts: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Of resamples in which kappa is not defined nothing is learned: they are left out."""
    total = int(counts.sum())
    if not total:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, _NUM_RESAMPLES)
    kappas = _kappa(drawn.reshape(-1, *counts.shape))
    known = kappas[np.isfinite(kappas)]
    low, high = np.percentile(known, _PERCENTILES) if len(known) else (np.nan, np.nan)
    return float(low), float(high)
