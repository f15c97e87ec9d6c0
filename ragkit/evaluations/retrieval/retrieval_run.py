"""The folder of a run of `ragkit eval retrieval`: what it is gone on with by, and what it holds in the end.

Beside the files of `RunFolder`: run.trec, the ranking as a TREC run, and scores.json, each measure of each query.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.runs.retrieval import RetrievalReport, search_seconds
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.runs.systems import RANKING
from ragkit.eval.sets.beir import BeirCollection
from ragkit.eval.sets.trec import write_run
from ragkit.evaluations.run_plan import plan_of, session_facts
from ragkit.files import atomic_write

SCORES = "scores.json"


@contextmanager
def kept_run(
    out: Path | None,
    collection: BeirCollection,
    config: Config,
    corpus: Corpus,
    scope: Mapping[str, object] | None = None,
) -> Iterator[RunFolder | None]:
    """The run in the folder `out`, to be gone on with; None where there is none.

    Raises:
        DataError: the folder's run is of other data or other settings.
    """
    if out is None:
        yield None
        return
    data = {
        "split": collection.split,
        "fingerprint": collection.fingerprint(),
        "queries": collection.judged_fingerprint(),
        **({"scope": dict(scope)} if scope else {}),
    }
    plan = plan_of("eval retrieval", config, corpus, data)
    session = {**session_facts(corpus), "data_folder": collection.folder.resolve().name}
    with RunFolder(out, plan, session) as kept:
        yield kept


def note_index(kept: RunFolder | None, seconds: float) -> None:
    """Keep what this session's indexing took, before a kill can lose it."""
    if kept is not None:
        kept.note({"index_s": seconds})


def finish_run(kept: RunFolder | None, report: RetrievalReport) -> RetrievalReport:
    """Write what came out into the folder of the run; the report with the seconds of all sessions together.

    A run that was complete before stays as it is. Where an id holds white space there is no run.trec, which could
    not carry it: the manifest says so.
    """
    if kept is None:
        return report
    done = kept.manifest.completed
    if done is not None:
        return replace(report, seconds=done["seconds"])
    report = replace(report, seconds=_seconds_of_all(kept, report.seconds["measure"]))
    notes: list[str] = []
    try:
        write_run(kept.folder / RANKING, report.run)
    except DataError as error:
        notes.append(f"no {RANKING}: {error}")
    with atomic_write(kept.folder / SCORES) as file:
        file.write(json.dumps(report.by_query, ensure_ascii=False).encode() + b"\n")
    facts = {"measures": report.measures, "seconds": report.seconds, "scope": dict(report.scope), "notes": notes}
    kept.complete(facts)
    return report


def _seconds_of_all(kept: RunFolder, measure: float) -> dict[str, float]:
    """By stage; searches that timed queries one at a time are none of it."""
    index = sum(float(session.get("index_s", 0.0)) for session in kept.manifest.sessions)
    return {"index": index, "search": search_seconds(kept.finished), "measure": measure}
