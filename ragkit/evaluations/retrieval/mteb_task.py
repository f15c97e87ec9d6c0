"""An mteb retrieval task over a BEIR folder: nothing is downloaded, and its nDCG@10 is told unrounded too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.extras import require

# mteb rounds its means to five digits.
UNROUNDED = "ndcg_at_10_unrounded"


def local_task(folder: Path, split: str = "test") -> Any:
    """An `mteb.abstasks.AbsTaskRetrieval` over a BEIR folder.

    Raises:
        DataError: the folder is malformed.
    """
    collection = read_beir(folder, split)
    task = _task_class(folder.resolve(), collection)()
    task.dataset = {"default": {split: _split_data(collection)}}
    task.data_loaded = True
    return task


def _task_class(folder: Path, collection: BeirCollection) -> Any:
    """A class, for mteb keeps what it knows of a task there; made here, where mteb is imported."""
    facts = {
        "name": folder.name,
        "description": f"Retrieval over the BEIR folder {folder.name}.",
        "type": "Retrieval",
        "category": "t2t",
        "dataset": {"path": str(folder), "revision": collection.fingerprint()},
        "eval_splits": [collection.split],
        "eval_langs": ["und-Zyyy"],
        "main_score": "ndcg_at_10",
    }
    base = require("mteb.abstasks.retrieval").AbsTaskRetrieval
    metadata = require("mteb.abstasks.task_metadata").TaskMetadata(**facts)
    return type("BeirTask", (base,), {"metadata": metadata, "task_specific_scores": _unrounded})


def _unrounded(
    _: object, scores: Mapping[str, Mapping[str, float]], *__: object, **___: object
) -> dict[str, float]:
    """The mean of pytrec_eval's values, one a query, that mteb's evaluator has just computed."""
    values = [row["ndcg_cut_10"] for row in scores.values()]
    return {UNROUNDED: sum(values) / len(values)}


def _split_data(collection: BeirCollection) -> dict[str, Any]:
    dataset = require("datasets").Dataset
    documents = [{"id": record.id, "title": record.title, "text": record.text} for record in collection.records()]
    queries = [{"id": query, "text": text} for query, text in collection.queries.items()]
    return {
        "corpus": dataset.from_list(documents),
        "queries": dataset.from_list(queries),
        "relevant_docs": collection.qrels,
        "top_ranked": None,
    }
