"""`ragkit eval context`: questions asked with more and fewer passages, in several orders, among hard negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from ragkit.assemble import make_engine
from ragkit.config import Config
from ragkit.errors import ConfigError, DataError
from ragkit.eval.contexts.context_outcomes import CONFIDENCE, Outcome
from ragkit.eval.contexts.context_probe import ContextSweep
from ragkit.eval.contexts.context_report import ContextReport, report_sweep
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.context_sets import ContextQuestion, ContextSet, read_context_set
from ragkit.evaluations.contexts.context_asker import ContextAsker, row_key
from ragkit.evaluations.contexts.context_pool import ContextPool
from ragkit.evaluations.run_plan import plan_of, session_facts
from ragkit.indexers.index_report import IndexProgress
from ragkit.protocols import Embedder, Engine
from ragkit.serve.prompting.position_curve import PositionAccuracy, PositionCurve

# Answers of a few words are asked for, as in the paper; the evidence style has a length of its own.
_MAX_TOKENS = 32


def with_context_defaults(config: Config) -> Config:
    """The embedded language model, and answers of 32 tokens, where the settings do not say otherwise."""
    given = config.generation.model_fields_set
    defaults = {"engine": "smollm2", "max_tokens": _MAX_TOKENS}
    missing = {name: value for name, value in defaults.items() if name not in given}
    return config.model_copy(update={"generation": config.generation.model_copy(update=missing)})


def sweep_contexts(
    data: Path,
    config: Config,
    sweep: ContextSweep,
    out: Path,
    form: str = "auto",
    progress: Callable[[IndexProgress], None] | None = None,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    engine: Engine | None = None,
    embedder: Embedder | None = None,
) -> ContextReport:
    """Ask every question in every cell, and measure; what the run in `out` has finished is not asked again.

    Prompts are those of `ragkit.serve.prompting`. "rank" is the order in which the configured retriever, with its
    reranker, ranks the passages that are shown; "document" that of the set.

    Args:
        tell: called with the number of questions in cells that are done, and of all.
        engine, embedder: in place of the configured ones.

    Raises:
        ConfigError: counterfactual passages are asked for, and the set has none.
        DataError: the set is malformed, or `out` holds a run with another plan.
    """
    config = with_context_defaults(config)
    context_set = read_context_set(data, form)
    if "counterfactual" in sweep.negatives and not context_set.has_counterfactuals:
        raise ConfigError(f"--negatives counterfactual: {context_set.path} has no counterfactual passages")
    questions = context_set.sample(sweep.num_questions, sweep.seed)
    with ContextPool(context_set, config, sweep.seed, embedder) as pool:
        facts = {"fingerprint": context_set.fingerprint(), "form": context_set.form, **asdict(sweep)}
        plan = plan_of("eval context", config, pool.corpus, facts, generates=True)
        with RunFolder(out, plan, session_facts(pool.corpus)) as run:
            done, total = run.manifest.completed, len(questions) * len(list(sweep.cells()))
            if done is not None and len(run.finished) == total:
                # No model is loaded to show again what is there.
                return _report(context_set, questions, sweep, run, str(done["engine"]))
            pool.index(progress)
            engine = engine or make_engine(config, pool.corpus.embedder)
            ContextAsker(config.generation, engine, pool, run, tell).ask_all(questions, sweep)
            report = _report(context_set, questions, sweep, run, engine.name)
            run.complete({"engine": engine.name, "cells": report.to_json()["cells"]})
    return report


def check_curve(sweep: ContextSweep) -> None:
    """Raises ConfigError where the positions make no curve: the first and the last must be among them."""
    most = max(sweep.ks)
    if most < 2 or not {1, most} <= set(sweep.positions):
        there = ",".join(map(str, sweep.positions)) or "none"
        raise ConfigError(
            f"a position curve needs the positions 1 and the largest k, {most}, of at least 2; given: {there}. "
            f"Add --positions 1,{most}, or all"
        )


def position_curve(report: ContextReport) -> PositionCurve:
    """What a sweep of positions says of the engine, as `[generation] position_curve` reads it.

    Raises:
        DataError: no positions were swept, or no question could be asked at one of them.
    """
    measured = [summary for summary in report.cells if summary.cell.position is not None]
    if not measured:
        raise DataError("no positions were measured; name them: --positions 1,5,10")
    points = []
    for summary in measured:
        place, accuracy, interval = summary.cell.position, summary.accuracy, summary.accuracy_interval
        if place is None or accuracy is None or interval is None:
            raise DataError(f"no question could be asked in the cell {summary.cell.name!r}: see what it skipped")
        points.append(PositionAccuracy(position=place, accuracy=accuracy, low=interval.low, high=interval.high))
    return PositionCurve(
        model=str(report.facts["engine"]),
        num_passages=measured[0].cell.k,
        num_questions=min(summary.num_asked for summary in measured),
        confidence=CONFIDENCE,
        date=datetime.now(UTC).date().isoformat(),
        positions=tuple(points),
    )


def _report(
    context_set: ContextSet, questions: Sequence[ContextQuestion], sweep: ContextSweep, run: RunFolder, engine: str
) -> ContextReport:
    outcomes = {
        cell: {one.id: Outcome.from_row(run.finished[row_key(one, cell)]) for one in questions}
        for cell in sweep.cells()
    }
    facts: dict[str, str | int | float] = {
        "set": context_set.path.name,
        "questions drawn": len(questions),
        "questions in the set": len(context_set.questions),
        "engine": engine,
        "seed": sweep.seed,
    }
    return report_sweep(outcomes, sweep.seed, facts)
