"""Measures of rankings, computed by trec_eval through ir-measures.

Documents are ordered as trec_eval does: by score in float32, best first, equal scores by descending id.
Grades above 0 are relevant; nDCG gains are the grades themselves.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "R@100")

# Name -> whether it can, or must, have a cutoff.
_CUTOFF = {"nDCG": "may", "AP": "may", "RR": "may", "R": "must", "P": "must", "Success": "must"}
_KNOWN = ", ".join(f"{name}@k" if rule == "must" else f"{name}, {name}@k" for name, rule in _CUTOFF.items())
_FORM = re.compile(r"(?P<name>[A-Za-z]+)(?:@(?P<cutoff>[1-9][0-9]*))?")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure over the first `cutoff` documents of a ranking, or over all where it is None."""

    name: str
    cutoff: int | None = None

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"


@dataclass(frozen=True, slots=True)
class RankingScores:
    """means: by measure, over all judged queries. by_query: measure, then query id, to value."""

    means: dict[str, float]
    by_query: dict[str, dict[str, float]]


def parse_measure(text: str) -> Measure:
    """Read a measure's name, such as "nDCG@10".

    Raises:
        ConfigError: there is no such measure, or its cutoff is missing.
    """
    form = _FORM.fullmatch(text)
    name = form["name"] if form else text.partition("@")[0]
    if form is None or name not in _CUTOFF:
        near = difflib.get_close_matches(name.lower(), [known.lower() for known in _CUTOFF], n=1)
        hint = [f"; did you mean {known}?" for known in _CUTOFF if known.lower() in near]
        raise ConfigError(f"unknown measure {text!r}{''.join(hint)} Known: {_KNOWN}")
    if _CUTOFF[name] == "must" and form["cutoff"] is None:
        raise ConfigError(f"measure {text!r} needs a cutoff, as in {name}@10")
    return Measure(name, int(form["cutoff"]) if form["cutoff"] else None)


def score_run(
    qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]], measures: Sequence[str]
) -> RankingScores:
    """Score a run against judgements. A judged query that the run lacks counts as zero.

    Raises:
        ConfigError: a measure is unknown.
    """
    parsed = [parse_measure(measure) for measure in measures]
    values = _values_of(qrels, run, {_computed(measure) for measure in parsed})
    by_query = {
        str(measure): {query: _cut(measure, values[_computed(measure)][query]) for query in qrels}
        for measure in parsed
    }
    means = {name: sum(scores.values()) / len(scores) if scores else 0.0 for name, scores in by_query.items()}
    return RankingScores(means, by_query)


def _computed(measure: Measure) -> Measure:
    """RR@k is cut from RR: ir-measures' own RR@k orders ties otherwise than all its other measures."""
    return Measure("RR") if measure.name == "RR" else measure


def _cut(measure: Measure, value: float) -> float:
    if measure.name != "RR" or measure.cutoff is None or value == 0:
        return value
    return value if round(1 / value) <= measure.cutoff else 0.0


def _values_of(
    qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]], measures: set[Measure]
) -> dict[Measure, dict[str, float]]:
    """Measure, then query id, to value; 0 for queries that the run lacks."""
    library = require("ir_measures")
    wanted = {_library_measure(library, measure): measure for measure in measures}
    values = {measure: dict.fromkeys(qrels, 0.0) for measure in measures}
    judged = {query: dict(grades) for query, grades in qrels.items()}
    found = {query: dict(run[query]) for query in qrels if run.get(query)}
    for metric in library.pytrec_eval.iter_calc(list(wanted), judged, found):
        values[wanted[metric.measure]][metric.query_id] = float(metric.value)
    return values


def _library_measure(library: Any, measure: Measure) -> Any:
    base = getattr(library, measure.name)
    return base if measure.cutoff is None else base @ measure.cutoff
