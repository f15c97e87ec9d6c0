"""A judge over kept answers, and over the labelled answers that say how far it can be trusted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ragkit import assemble
from ragkit.config import Config
from ragkit.errors import EngineError
from ragkit.eval.judging.judge import judge_request, prompt_fingerprint, read_verdict
from ragkit.eval.judging.judge_agreement import labelled_answers, measure_agreement
from ragkit.eval.judging.judge_report import JudgeReport, judge_report
from ragkit.eval.runs.answer_rows import AnswerRow
from ragkit.eval.runs.run_folder import RunFolder, read_finished, read_manifest
from ragkit.evaluations.answers.answer_run import read_failures, write_failures
from ragkit.evaluations.answers.ask_questions import batching_engine, for_each, num_at_once
from ragkit.evaluations.run_plan import plan_of_engine, session_facts
from ragkit.protocols import Engine

COMMAND = "eval judge"
_LABEL, _ANSWER = "label/", "answer/"


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a judge is shown."""

    question: str
    golds: tuple[str, ...]
    answer: str

    @property
    def digest(self) -> str:
        """Another once the judge would be shown something else."""
        shown = json.dumps([self.question, self.golds, self.answer])
        return hashlib.sha256(shown.encode()).hexdigest()[:16]


def judge_answers(
    rows: Mapping[str, AnswerRow],
    config: Config,
    out: Path,
    *,
    engine: Engine | None = None,
    judging: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Have the labelled answers and these judged, and keep each reply in the run folder `out`.

    Answers without a gold answer, and refusals, are not judged. An answer, a question or gold answers that are
    others than when they were judged are judged again.

    Args:
        engine: in place of the configured one. judging: called with the number that are done, and of all.

    Raises:
        DataError: the folder's run is of another judge.
    """
    wanted = {_LABEL + one.id: _Judged(one.question, one.golds, one.answer) for one in labelled_answers()}
    wanted |= _judged_answers(rows)
    labels = hashlib.sha256(json.dumps([repr(one) for one in labelled_answers()]).encode()).hexdigest()
    plan = plan_of_engine(COMMAND, config, {"prompt": prompt_fingerprint(), "labels": labels})
    with RunFolder(out, plan, session_facts()) as kept:
        left = {query: one for query, one in wanted.items() if query not in kept.finished}
        if left:
            _judge(left, kept, config, engine, judging)
        if wanted.keys() <= kept.finished.keys():
            kept.complete()


def judge_report_of(folder: Path, rows: Mapping[str, AnswerRow], seed: int = 0) -> JudgeReport:
    """What a judge said of these answers, its replies read anew; what it said of earlier ones does not count.

    Raises:
        DataError: there is no run of a judge.
    """
    manifest = read_manifest(folder)
    verdicts = {query: read_verdict(row["reply"]) for query, row in read_finished(folder).items()}
    pairs = [(one.label, verdicts[_LABEL + one.id]) for one in labelled_answers() if _LABEL + one.id in verdicts]
    labels, said = [label for label, _ in pairs], [verdict for _, verdict in pairs]
    agreement = measure_agreement(labels, said, seed) if pairs else None
    refused = sum(row.is_refusal for row in rows.values() if row.question.is_answerable and row.question.answers)
    shown = _judged_answers(rows)
    of_answers = {key: verdicts[key] for key in shown if key in verdicts}
    generator = manifest.plan["models"]["generator"]
    name = generator["name"] or generator["engine"]
    failures = {
        key: reason for key, reason in read_failures(folder).items() if key.startswith(_LABEL) or key in shown
    }
    return judge_report(name, of_answers, refused, agreement, failures)


def _judge(
    left: Mapping[str, _Judged],
    kept: RunFolder,
    config: Config,
    engine: Engine | None,
    judging: Callable[[int, int], None],
) -> None:
    judge = engine or batching_engine(config) or assemble.make_engine(config, None)
    failures: dict[str, str] = {}
    total = len(kept.finished) + len(left)

    async def ask(query: str) -> None:
        one = left[query]
        started = time.perf_counter()
        request = judge_request(one.question, one.golds, one.answer, config.generation.max_tokens)
        try:
            reply = await judge.chat(request)
        except EngineError as error:
            failures[query] = str(error)
        else:
            said = reply.text or reply.refusal
            row = {
                "verdict": str(read_verdict(said)),
                "reply": said,
                "finish_reason": reply.finish_reason,
                "seconds": time.perf_counter() - started,
                "usage": {
                    "prompt_tokens": reply.usage.prompt_tokens,
                    "completion_tokens": reply.usage.completion_tokens,
                },
            }
            kept.record({query: row})
        judging(len(kept.finished) + len(failures), total)

    try:
        asyncio.run(for_each(list(left), ask, num_at_once(config)))
    finally:
        write_failures(kept.folder, failures)


def _judged_answers(rows: Mapping[str, AnswerRow]) -> dict[str, _Judged]:
    """By the key of the row that the judge's run has of each: question id and digest."""
    shown = {
        query: _Judged(row.question.text, row.question.answers, row.text)
        for query, row in rows.items()
        if _is_judged(row)
    }
    return {f"{_ANSWER}{query}/{one.digest}": one for query, one in shown.items()}


def _is_judged(row: AnswerRow) -> bool:
    return row.question.is_answerable and bool(row.question.answers) and not row.is_refusal
