"""Lists to train on, mined and scored: the work behind `ragkit train negatives`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ragkit import __version__
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import read_beir
from ragkit.evaluations.run_plan import session_facts
from ragkit.files import sha256_of
from ragkit.indexers.index_report import IndexProgress
from ragkit.retrievers.training.examples import (
    GIVEN,
    LISTS,
    PASSAGES,
    QUESTIONS,
    TrainingList,
    TrainingPassage,
    TrainingQuestion,
    read_passages,
    read_questions,
    write_rows,
    write_rows_once,
)
from ragkit.retrievers.training.labels import with_labels_first
from ragkit.retrievers.training.negatives import Denoise, DenoiseCounts, denoised, merged, standardised_sum
from ragkit.retrievers.training.question_filter import (
    FilterReport,
    filter_lists,
    normalise_scores,
    round_trip,
)
from ragkit.retrievers.training.teachers import Teacher
from ragkit.training.make_teachers import RERANKER, RETRIEVER
from ragkit.training.mining_report import FalseNegatives, MiningReport
from ragkit.training.passage_corpus import open_passages
from ragkit.training.passage_sources import beir_pool, other_splits
from ragkit.training.training_plan import model_facts, reranked_by, searched_by

# Below the training folder: the scores of each question's candidates, as they came.
SCORES = "scores"
_QUESTIONS_AT_ONCE = 32
_METHODS = ("hybrid", "dense", "bm25")


@dataclass(frozen=True, slots=True)
class MiningPlan:
    """How lists are made.

    retrievers: methods of retrieval whose rankings are merged. teachers: names; "retriever" stands for the scores
    of the ranking itself. depth: candidates of each question; list_length: those that are left.
    """

    retrievers: tuple[str, ...] = ("hybrid",)
    teachers: tuple[str, ...] = (RETRIEVER,)
    depth: int = 100
    list_length: int = 20
    denoise: Denoise = "mask"


def write_labelled(data: Path, split: str, out: Path) -> int:
    """Write passages.jsonl and questions.jsonl of a folder in BEIR's layout; the number of questions left out.

    Passages relevant to questions of other splits, and near duplicates of them, are left out, and so are questions
    whose relevant passages all are. Files that are there already stay, if they say the same.

    Raises:
        DataError: the collection is malformed, nothing is left, or `out` holds other passages or questions.
    """
    held_out = [name for name in other_splits(data) if name != split]
    if split != "train" and "train" in {path.stem for path in (data / "qrels").glob("*.tsv")}:
        held_out.append("train")
    pool = beir_pool(data, held_out)
    names = {passage.id for passage in pool.passages}
    collection = read_beir(data, split)
    asked = []
    for name, text in collection.queries.items():
        relevant = (document for document, grade in collection.qrels[name].items() if grade > 0)
        if sources := tuple(document for document in relevant if document in names):
            asked.append(TrainingQuestion(name, text, GIVEN, sources))
    if not asked:
        raise DataError(f"{data}: no question of split {split!r} has a relevant document that is not held out")
    write_rows_once(out / PASSAGES, pool.passages)
    write_rows_once(out / QUESTIONS, asked)
    return len(collection.queries) - len(asked)


def mine_negatives(
    folder: Path,
    plan: MiningPlan,
    teachers: Sequence[Teacher],
    config: Config,
    indexing: Callable[[IndexProgress], None] | None = None,
    scoring: Callable[[int, int], None] = lambda *_: None,
) -> MiningReport:
    """Write lists.jsonl of a training folder; a run that was killed goes on where it was.

    Questions that a model wrote go through the filters of `question_filter`; of those that people wrote, what is
    known to be relevant comes first (`labels`), or where nothing is, what the teacher likes best.

    Args:
        teachers: of the plan, but for "retriever".
        scoring: called with the number of questions whose candidates are scored, and of all.

    Raises:
        DataError: a file is malformed, the folder holds a run with another plan, or no list is left.
    """
    passages, questions = read_passages(folder / PASSAGES), read_questions(folder / QUESTIONS)
    with RunFolder(folder / SCORES, _facts(folder, plan, config), session_facts()) as kept:
        waiting = [question for question in questions.values() if question.id not in kept.finished]
        with ExitStack() as stack:
            # A run that has nothing left to search for opens nothing.
            methods = plan.retrievers if waiting else ()
            corpora = [
                stack.enter_context(open_passages(passages, folder, _with_method(config, method), indexing))
                for method in methods
            ]
            miner = _Miner(passages, plan, teachers, corpora)
            for start in range(0, len(waiting), _QUESTIONS_AT_ONCE):
                kept.record(miner.rows(waiting[start : start + _QUESTIONS_AT_ONCE]))
                scoring(len(kept.finished), len(questions))
        lists, report = _lists(passages, questions, kept.finished, plan)
        if not lists:
            raise DataError(f"{folder}: {report.why_none(plan.list_length)}")
        write_rows(folder / LISTS, lists)
        kept.complete(report.to_json())
    return report


class _Miner:
    """Candidates of questions, scored."""

    def __init__(
        self,
        passages: Mapping[str, TrainingPassage],
        plan: MiningPlan,
        teachers: Sequence[Teacher],
        corpora: Sequence[Corpus],
    ) -> None:
        self._passages, self._plan, self._teachers, self._corpora = passages, plan, teachers, corpora

    def rows(self, questions: Sequence[TrainingQuestion]) -> dict[str, dict[str, object]]:
        """By question: what was found, and the scores of each teacher in the order of the plan."""
        texts = [question.text for question in questions]
        runs = [corpus.search_many(texts, self._plan.depth, level="document") for corpus in self._corpora]
        found = []
        for question, *hits in zip(questions, *runs, strict=True):
            candidates = merged(
                [{hit.passage.document: hit.score for hit in ranked} for ranked in hits], self._plan.depth
            )
            lowest = min(candidates.values(), default=0.0)
            # What is known to be relevant and was not found is scored too, as the last.
            for source in question.sources:
                if source in self._passages and question.kind == GIVEN:
                    candidates.setdefault(source, lowest)
            found.append(candidates)
        lists = [[self._passages[name] for name in candidates] for candidates in found]
        scores = [
            [list(candidates.values()) for candidates in found]
            if name == RETRIEVER
            else self._teacher(name).score(texts, lists)
            for name in self._plan.teachers
        ]
        return {
            question.id: {"passages": list(candidates), "scores": [each[row] for each in scores]}
            for row, (question, candidates) in enumerate(zip(questions, found, strict=True))
        }

    def _teacher(self, name: str) -> Teacher:
        return next(teacher for teacher in self._teachers if teacher.name == name)


def _lists(
    passages: Mapping[str, TrainingPassage],
    questions: Mapping[str, TrainingQuestion],
    rows: Mapping[str, Mapping[str, object]],
    plan: MiningPlan,
) -> tuple[list[TrainingList], MiningReport]:
    scored = {entry.question: entry for entry in _scored(questions, rows)}
    written = [question for question in questions.values() if question.kind != GIVEN]
    found = {name: _names(rows[name]) for name in scored}
    returned, at_first = round_trip(written, found)
    kept, later = filter_lists(
        [scored[one.id] for one in returned if one.id in scored], questions, plan.list_length
    )
    given = [scored[one.id] for one in questions.values() if one.kind == GIVEN and one.id in scored]
    lifted = [with_labels_first(entry, passages.keys() & questions[entry.question].sources) for entry in given]
    normal = normalise_scores(lifted, GIVEN, drops_weak=False) if lifted else []
    counts, lists = DenoiseCounts(), []
    for entry in [*normal, *kept]:
        clean, dropped = denoised(entry, passages, questions[entry.question].sources, plan.denoise)
        counts = counts.plus(dropped)
        if len(clean.passages) > 1:
            lists.append(clean.first(plan.list_length))
    return lists, MiningReport(
        len(questions),
        len(lists),
        sum(len(entry.passages) for entry in lists),
        counts,
        at_first.then(later) if written else FilterReport(()),
        FalseNegatives.of(given, questions, plan.list_length) if given else None,
    )


def _scored(
    questions: Mapping[str, TrainingQuestion], rows: Mapping[str, Mapping[str, object]]
) -> Iterator[TrainingList]:
    """The teacher's best first."""
    for name in questions:
        names, scores = _names(rows[name]), standardised_sum(rows[name]["scores"])  # type: ignore[arg-type]
        order = sorted(range(len(names)), key=lambda place: -scores[place])
        if order:
            yield TrainingList(
                name, tuple(names[place] for place in order), tuple(scores[place] for place in order)
            )


def _names(row: Mapping[str, object]) -> list[str]:
    names = row["passages"]
    assert isinstance(names, list)
    return names


def _with_method(config: Config, method: str) -> Config:
    if method not in _METHODS:
        raise DataError(f"retriever {method!r}; give one of {', '.join(_METHODS)}")
    retrieval = config.retrieval.model_copy(update={"method": method})
    return config.model_copy(update={"retrieval": retrieval})


def _facts(folder: Path, plan: MiningPlan, config: Config) -> dict[str, object]:
    """What decides the scores. Of the plan, what is done with them afterwards is not part of it."""
    return {
        "command": "train negatives",
        "ragkit": __version__,
        "data": {name: sha256_of(folder / name) for name in (PASSAGES, QUESTIONS)},
        "retrievers": list(plan.retrievers),
        "teachers": [model_facts(teacher.partition(":")[2]) | {"name": teacher} for teacher in plan.teachers],
        "depth": plan.depth,
        **searched_by(config),
        "reranker": reranked_by(config) if RERANKER in plan.teachers else None,
    }
