"""The folder of a run of `ragkit eval answers`: what stands in it beside the files of `RunFolder`.

failed.json: questions that the engine failed at in the last session; they are asked again when the run goes on.
scores.json: each measure of each question. judge/: the run of a judge over the answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ragkit.errors import DataError
from ragkit.eval.runs.answer_report import AnswerReport, report_answers
from ragkit.eval.runs.answer_rows import AnswerRow, row_from_json
from ragkit.eval.runs.run_folder import RunManifest, read_finished, read_manifest
from ragkit.files import atomic_write

COMMAND = "eval answers"
FAILED, SCORES, JUDGE = "failed.json", "scores.json", "judge"


def read_rows_of(folder: Path) -> dict[str, AnswerRow]:
    """The answers that a run keeps, by question.

    Raises:
        DataError: there is no run of `ragkit eval answers`.
    """
    _answers_manifest(folder)
    return {query: row_from_json(query, row) for query, row in read_finished(folder).items()}


def report_of(folder: Path) -> AnswerReport:
    """Score the answers that a run keeps anew, and write scores.json.

    Raises:
        DataError: there is no run of `ragkit eval answers`, or it has no answer yet.
    """
    manifest, rows, failures = _answers_manifest(folder), read_rows_of(folder), read_failures(folder)
    if not rows and not failures:
        raise DataError(f"{folder} has no answer yet; run it on without --rescore")
    seconds = {
        "index": sum(float(session.get("index_s", 0.0)) for session in manifest.sessions),
        "run": manifest.seconds,
    }
    data = manifest.plan["data"]
    report = report_answers(rows, failures, seconds, num_questions=data["questions"], seed=data["seed"])
    with atomic_write(folder / SCORES) as file:
        file.write(json.dumps(report.by_query, ensure_ascii=False).encode() + b"\n")
    return report


def read_failures(folder: Path) -> dict[str, str]:
    """Why the engine failed, by question; those with a row were answered since, before a kill."""
    path = folder / FAILED
    if not path.exists():
        return {}
    finished = read_finished(folder)
    try:
        failures = json.loads(path.read_text("utf-8")).items()
        return {str(query): str(reason) for query, reason in failures if query not in finished}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"cannot read {path}: {error}; delete it and run on") from error


def write_failures(folder: Path, failures: Mapping[str, str]) -> None:
    """Take the place of the failures of earlier sessions."""
    with atomic_write(folder / FAILED) as file:
        file.write(json.dumps(failures, ensure_ascii=False, indent=1).encode() + b"\n")


def _answers_manifest(folder: Path) -> RunManifest:
    manifest = read_manifest(folder)
    command = manifest.plan.get("command")
    if command != COMMAND:
        raise DataError(f"{folder} is a run of ragkit {command}, not of ragkit {COMMAND}")
    return manifest
