"""From files to a comparison: TREC runs or runs' folders, and judgements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ragkit.errors import ConfigError, DataError
from ragkit.eval.measures.ranking_metrics import DEFAULT_MEASURES, score_run
from ragkit.eval.reports.changed_queries import changed_queries
from ragkit.eval.reports.comparison import Scores, compare
from ragkit.eval.reports.comparison_report import ComparisonReport, Judgements
from ragkit.eval.reports.files_read import files_read
from ragkit.eval.runs.systems import System, answer_scores, read_systems
from ragkit.eval.sets.judgements import read_judgements
from ragkit.files import sha256_of


def compare_paths(
    paths: Sequence[Path],
    qrels: Path | None = None,
    measures: Sequence[str] = (),
    *,
    data: Path | None = None,
    seed: int = 0,
) -> ComparisonReport:
    """Compare TREC runs or the folders of runs, the baseline first.

    Args:
        qrels: judgements in TREC's form or BEIR's. Rankings need them; answers are scored already.
        measures: where none is named, DEFAULT_MEASURES of rankings, and all that answers have.
        data: folder in BEIR's layout, for the texts of the changed queries.

    Raises:
        ConfigError: judgements are missing or of no use, or a measure is unknown.
        DataError: a file is malformed, or the systems cannot be compared.
    """
    systems = read_systems(paths)
    if systems[0].run is None:
        if qrels is not None or data is not None:
            raise ConfigError("answers hold their scores and texts; leave out --qrels and --data")
        return _report(systems, answer_scores(systems, measures), Judgements({}, None, ""), None, seed)
    if qrels is None:
        raise ConfigError("rankings are compared by judgements; name their file with --qrels")
    wanted = measures or DEFAULT_MEASURES
    judgements = Judgements(read_judgements(qrels), qrels, sha256_of(qrels))
    for system in systems:
        _refuse_stranger(system, judgements)
    if data is not None:
        _refuse_other_texts(systems, data)
    scores = [score_run(judgements.qrels, system.run or {}, wanted).by_query for system in systems]
    return _report(systems, scores, judgements, data, seed)


def _report(
    systems: Sequence[System], scores: Sequence[Scores], judgements: Judgements, data: Path | None, seed: int
) -> ComparisonReport:
    by_name = {system.name: one for system, one in zip(systems, scores, strict=True)}
    comparison = compare(by_name, seed=seed)
    changed = changed_queries(comparison, systems, judgements.qrels, data)
    files = files_read(systems, judgements.path, data if changed else None)
    return ComparisonReport(comparison, tuple(systems), judgements, tuple(changed), files, data)


def _refuse_stranger(system: System, judgements: Judgements) -> None:
    """A system that found nothing is none: its queries count as 0."""
    run = system.run or {}
    if run and not judgements.qrels.keys() & run.keys():
        raise DataError(
            f"none of the {len(run)} queries of {system.path} is judged in {judgements.path}: the first is "
            f"{next(iter(run))!r} there and {next(iter(judgements.qrels))!r} here; give both of one collection"
        )


def _refuse_other_texts(systems: Sequence[System], data: Path) -> None:
    """Ids of two collections can be alike: texts of another one would stand beside them without a sign."""
    corpus = data / "corpus.jsonl"
    if not corpus.is_file():
        return
    fingerprint = sha256_of(corpus)
    for system in systems:
        facts = {} if system.manifest is None else system.manifest.plan.get("data", {})
        # Of pictures the fingerprint is that of all files.
        of_texts = facts.get("scope", {}).get("indexed") != "pictures"
        searched = facts.get("fingerprint") if of_texts else None
        if searched is not None and searched != fingerprint:
            raise DataError(
                f"{system.path} searched other documents (SHA-256 {searched[:12]}…) than {corpus} holds "
                f"({fingerprint[:12]}…); give the folder of its collection, or leave out --data"
            )
