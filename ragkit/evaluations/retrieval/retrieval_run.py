"""The folder of a run of `ragkit eval retrieval`: what it is gone on with by, and what it holds in the end.

Beside the files of `RunFolder`: run.trec, the ranking as a TREC run, and scores.json, each measure of each query.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.runs.retrieval import RetrievalReport
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import BeirCollection
from ragkit.eval.sets.trec import write_run
from ragkit.evaluations.run_plan import plan_of, session_facts
from ragkit.files import atomic_write

RUN, SCORES = "run.trec", "scores.json"


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
        "name": collection.folder.resolve().name,
        "split": collection.split,
        "fingerprint": collection.fingerprint(),
        "queries": collection.judged_fingerprint(),
        **({"scope": dict(scope)} if scope else {}),
    }
    plan = plan_of("eval retrieval", config, corpus, data)
    with RunFolder(out, plan, session_facts(corpus)) as kept:
        yield kept


def finish_run(kept: RunFolder | None, report: RetrievalReport) -> None:
    """Write what came out into the folder of the run.

    Where an id holds white space there is no run.trec, which could not carry it: the manifest says so.
    """
    if kept is None:
        return
    notes: list[str] = []
    try:
        write_run(kept.folder / RUN, report.run)
    except DataError as error:
        notes.append(f"no {RUN}: {error}")
    with atomic_write(kept.folder / SCORES) as file:
        file.write(json.dumps(report.by_query, ensure_ascii=False).encode() + b"\n")
    facts = {"measures": report.measures, "seconds": report.seconds, "scope": dict(report.scope), "notes": notes}
    kept.complete(facts)
