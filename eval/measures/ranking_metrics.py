"""Measures of rankings, computed by trec_eval through ir-measures; `CONVENTIONS` says how."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require

CONVENTIONS = (
    "Documents are ordered as trec_eval orders them: by score as float32, best first, equal scores by document "
    "id, descending. nDCG gains are the grades themselves (below 0 as 0), discounted by log2(rank + 1), over the "
    "best order of all judged documents. For all other measures grades from 1 on are relevant, or from n on with "
    "(rel=n). Means are over all judged queries; one without results, or without relevant documents, counts as 0."
)
DEFAULT_MEASURES = ("nDCG@10", "RR@10", "R@100")

# Name -> whether it can, or must, have a cutoff.
_CUTOFF = {"nDCG": "may", "AP": "may", "RR": "may", "R": "must", "P": "must", "Success": "must"}
_KNOWN = ", ".join(f"{name}@k" if rule == "must" else f"{name}, {name}@k" for name, rule in _CUTOFF.items())
# What else people, trec_eval ("ndcg_cut_10", "recip_rank") and mteb ("ndcg_at_10") call them, without _ and -.
_ALIASES = {
    "ndcgcut": "nDCG",
    "map": "AP",
    "mapcut": "AP",
    "mrr": "RR",
    "reciprank": "RR",
    "recall": "R",
    "precision": "P",
    "hit": "Success",
    "hits": "Success",
    "hitrate": "Success",
}
_NAMES = {name.lower(): name for name in _CUTOFF} | _ALIASES
_FORM = re.compile(
    r"(?P<name>[a-z]+(?:[_-](?!at)[a-z]+)*)(?:\(rel=(?P<rel>[1-9][0-9]*)\))?(?:(?:@|_at_|_)(?P<cutoff>[1-9][0-9]*))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure over the first `cutoff` documents of a ranking, or over all where it is None.

    relevant_from: the lowest grade that is relevant; nDCG, which weighs all grades, has always 1.
    """

    name: str
    cutoff: int | None = None
    relevant_from: int = 1

    def __str__(self) -> str:
        level = "" if self.relevant_from == 1 else f"(rel={self.relevant_from})"
        return f"{self.name}{level}" if self.cutoff is None else f"{self.name}{level}@{self.cutoff}"


@dataclass(frozen=True, slots=True)
class RankingScores:
    """means: by measure, over all judged queries. by_query: measure, then query id, to value."""

    means: dict[str, float]
    by_query: dict[str, dict[str, float]]


def parse_measure(text: str) -> Measure:
    """Read a measure's name, such as "nDCG@10", "P(rel=2)@10", or "mrr@10", in any case.

    Raises:
        ConfigError: there is no such measure, its cutoff is missing, or it takes no rel.
    """
    form = _FORM.fullmatch(text.strip())
    written = form["name"] if form else re.split(r"[@(]", text)[0]
    plain = re.sub("[_-]", "", written).lower()
    if form is None or plain not in _NAMES:
        near = difflib.get_close_matches(plain, _NAMES, n=1)
        hint = f"; did you mean {_NAMES[near[0]]}?" if near else "."
        raise ConfigError(f"unknown measure {text!r}{hint} Known: {_KNOWN}; with (rel=n), as in P(rel=2)@10")
    name = _NAMES[plain]
    if _CUTOFF[name] == "must" and form["cutoff"] is None:
        raise ConfigError(f"measure {text!r} needs a cutoff, as in {name}@10")
    if form["rel"] and name == "nDCG":
        raise ConfigError(f"measure {text!r}: nDCG weighs all grades and takes no rel; ask for nDCG")
    return Measure(name, int(form["cutoff"]) if form["cutoff"] else None, int(form["rel"] or 1))


def check_depth(measures: Sequence[str], depth: int) -> None:
    """Raises ConfigError where a measure looks at more documents than are ranked, or is unknown."""
    for name in measures:
        measure = parse_measure(name)
        if measure.cutoff is not None and measure.cutoff > depth:
            raise ConfigError(
                f"{measure} looks at {measure.cutoff:,} documents, and {depth:,} are ranked for a query"
            )


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
    return replace(measure, cutoff=None) if measure.name == "RR" else measure


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
    leveled = base if measure.relevant_from == 1 else base(rel=measure.relevant_from)
    return leveled if measure.cutoff is None else leveled @ measure.cutoff
