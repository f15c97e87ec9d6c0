"""Small runs to compare, of which every number can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from ragkit.eval.runs.answer_rows import AnswerRow, FoundPlace
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.questions import Place, Question
from ragkit.eval.sets.trec import write_qrels, write_run

# Each query has one relevant document, "r"; where a ranking has it decides RR: 1, 1/2, 1/4, or 0 without it.
PLACES = {
    "old": {"q1": 1, "q2": 2, "q3": 4, "q4": None},
    "new": {"q1": 1, "q2": 1, "q3": 2, "q4": 4},
    "odd": {"q1": 4, "q2": 4, "q3": 1, "q4": None},
}
QRELS = {query: {"r": 2, "o1": 0} for query in ("q1", "q2", "q3", "q4")}


def ranking(place: int | None) -> dict[str, float]:
    """Four documents, "r" at its place or not among them; the others are o1 to o4."""
    others = [f"o{number}" for number in range(1, 5)]
    documents = others if place is None else [*others[: place - 1], "r", *others[place - 1 : 3]]
    return {document: 4.0 - rank for rank, document in enumerate(documents)}


def write_runs(folder: Path) -> tuple[list[Path], Path]:
    """old.run, new.run and odd.run, and qrels.txt."""
    paths = []
    for name, places in PLACES.items():
        write_run(folder / f"{name}.run", {query: ranking(place) for query, place in places.items()})
        paths.append(folder / f"{name}.run")
    write_qrels(folder / "qrels.txt", QRELS)
    return paths, folder / "qrels.txt"


def write_collection(folder: Path, words: str = "plain words") -> Path:
    """A BEIR folder with texts for the runs."""
    folder.mkdir(parents=True)
    queries = [{"_id": query, "text": f"question {query} {words}"} for query in QRELS]
    documents = [
        {"_id": name, "title": f"title of {name}", "text": words} for name in ("r", "o1", "o2", "o3", "o4")
    ]
    for name, rows in {"queries": queries, "corpus": documents}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def write_retrieval_folder(
    folder: Path, name: str, seconds: float, data: Mapping[str, object] | None = None
) -> Path:
    """As ragkit eval retrieval --out leaves it."""
    rankings = {query: ranking(place) for query, place in PLACES[name].items()}
    with RunFolder(folder, {"command": "eval retrieval", "data": dict(data or {})}) as kept:
        kept.record(
            {query: {"ranking": list(found.items()), "seconds": seconds} for query, found in rankings.items()}
        )
        write_run(folder / "run.trec", rankings)
        kept.complete({"measures": {}})
    return folder


def write_answers_folder(
    folder: Path,
    scores: Mapping[str, Mapping[str, float]],
    *,
    places: Collection[Place] = (Place("d1", 2),),
    is_complete: bool = True,
) -> Path:
    """As ragkit eval answers --out leaves it.

    scores: by query, the token F1 ("f1") that its answer is to have against "gold", and its "citation_precision"
    of 0, 0.5 or 1, if anything is to be cited.
    """
    found = (FoundPlace(Place("d1", 2), 0.5), FoundPlace(Place("d2", 1), 0.25))
    with RunFolder(folder, {"command": "eval answers"}) as kept:
        for query, wanted in scores.items():
            question = Question(query, f"question {query}", ("gold",), places=frozenset(places))
            cited = _CITED[wanted.get("citation_precision")]
            answer = AnswerRow(
                question, answer_with(wanted["f1"]), False, "e", cited, found, (), "", {}, 0.5, 1, 1
            )
            kept.record({query: answer.to_json()})
        if is_complete:
            kept.complete()
    return folder


_CITED = {
    None: (),
    0: (Place("d2", 1),),
    0.5: (Place("d1", 2), Place("d2", 1)),
    1: (Place("d1", 2),),
}


def answer_with(f1: float) -> str:
    """Words of which one is "gold": of n words F1 is 2 / (n + 1)."""
    if not f1:
        return "other"
    number = round(2 / f1) - 1
    assert 2 / (number + 1) == f1, f"no answer has a token F1 of {f1}"
    return " ".join(["gold", *["word"] * (number - 1)])
