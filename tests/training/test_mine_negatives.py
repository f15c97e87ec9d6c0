"""Lists mined from a collection with labels and from questions that a model wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ragkit.config import parse_config
from ragkit.errors import ConfigError, DataError
from ragkit.retrievers.training.examples import (
    LISTS,
    PASSAGES,
    QUESTIONS,
    TrainingPassage,
    TrainingQuestion,
    read_lists,
    read_passages,
    read_questions,
    write_rows,
)
from ragkit.training.make_teachers import make_teachers
from ragkit.training.mine_negatives import MiningPlan, mine_negatives, write_labelled

CONFIG = parse_config(
    {"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}, "lexical": {"language": "none"}}
)
BIRDS = ("crane", "heron", "stork", "gull", "swan", "goose")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Each bird has a passage with its name twice and one with it once; all mention birds."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows, judged = [], ["query-id\tcorpus-id\tscore"]
    for place, bird in enumerate(BIRDS):
        rows.append(
            {"_id": f"{bird}-a", "title": "", "text": f"The {bird} is a bird and a {bird} of letter {place * 'x'}"}
        )
        rows.append(
            {"_id": f"{bird}-b", "title": "", "text": f"A {bird} among birds number {place * 'y'} by the river"}
        )
        judged.append(f"{bird}\t{bird}-b\t1")
    judged.append("heron\theron-a\t1")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": bird, "text": f"bird {bird}"} for bird in BIRDS]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    test = [line for line in judged if line.startswith(("query", "swan"))]
    train = [line for line in judged if not line.startswith("swan")]
    (folder / "qrels" / "test.tsv").write_text("\n".join(test) + "\n")
    (folder / "qrels" / "train.tsv").write_text("\n".join(train) + "\n")
    return folder


PLAN = MiningPlan(retrievers=("bm25",), depth=12, list_length=4)


def test_labels_come_first_and_what_a_test_asks_for_never(collection: Path, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    assert write_labelled(collection, "train", folder) == 0
    assert "swan-b" not in read_passages(folder / PASSAGES)
    assert {name: one.sources for name, one in read_questions(folder / QUESTIONS).items()} == {
        **{bird: (f"{bird}-b",) for bird in BIRDS if bird not in ("swan", "heron")},
        "heron": ("heron-b", "heron-a"),
    }
    report = mine_negatives(folder, PLAN, [], CONFIG)
    lists = {entry.question: entry for entry in read_lists(folder / LISTS)}
    assert set(lists) == {"crane", "heron", "stork", "gull", "goose"}
    for name, entry in lists.items():
        assert "swan-b" not in entry.passages
        assert len(entry.passages) == 4
        assert all(0 <= score <= 1 for score in entry.scores)
        assert entry.scores[0] == max(entry.scores)
        # BM25 likes the passage with the name twice; the label says otherwise, and of two labels BM25 chooses.
        assert entry.passages[:2] == (
            (f"{name}-a", f"{name}-b") if name == "heron" else (f"{name}-b", f"{name}-a")
        )
    assert (report.num_questions, report.num_lists, report.num_passages) == (5, 5, 20)
    told = report.false_negatives
    assert told is not None
    # Of heron alone two are known: with one hidden, it is one of three negatives.
    assert (told.num_questions, told.negatives_before, told.relevant_before) == (1, 3, 1)
    assert told.before == pytest.approx(1 / 3)


def test_a_question_whose_answer_is_held_out_is_left_out(collection: Path, tmp_path: Path) -> None:
    train = collection / "qrels" / "train.tsv"
    train.write_text(train.read_text() + "swan\tswan-b\t1\n")
    assert write_labelled(collection, "train", tmp_path / "train") == 1
    assert "swan" not in read_questions(tmp_path / "train" / QUESTIONS)


def written(folder: Path) -> Path:
    """Ten passages of a word of their own; a question to each, and one that leads elsewhere."""
    words = [f"{chr(97 + n) * 3} {'xyz'[n % 3] * 4}" for n in range(10)]
    write_rows(
        folder / PASSAGES, [TrainingPassage(f"p{n}", f"about {word} and more") for n, word in enumerate(words)]
    )
    asked = [TrainingQuestion(f"w/p{n}", f"more {word}", "web", (f"p{n}",)) for n, word in enumerate(words)]
    asked[3] = TrainingQuestion("w/p3", "more eee yyyy", "web", ("p3",))
    write_rows(folder / QUESTIONS, asked)
    return folder


def test_questions_that_a_model_wrote_are_filtered(tmp_path: Path) -> None:
    report = mine_negatives(written(tmp_path / "t"), MiningPlan(("bm25",), depth=10, list_length=3), [], CONFIG)
    counts = report.filtered.total
    assert (counts.questions, counts.not_found, counts.not_first) == (10, 0, 1)
    lists = read_lists(tmp_path / "t" / LISTS)
    assert [entry.passages[0] for entry in lists] == [f"p{entry.question[3:]}" for entry in lists]
    assert "w/p3" not in {entry.question for entry in lists}
    assert counts.kept == len(lists) > 3
    assert report.false_negatives is None


class Dying:
    """A teacher that likes passages by their number, counts whom it is asked for, and dies at a question."""

    name = "reranker"

    def __init__(self, dies_at: str = "") -> None:
        self.asked: list[str] = []
        self._dies_at = dies_at

    def score(self, questions: Sequence[str], lists: Sequence[Sequence[TrainingPassage]]) -> list[list[float]]:
        for question in questions:
            if self._dies_at and self._dies_at in question:
                raise KeyboardInterrupt
            self.asked.append(question)
        return [[float(len(passage.text)) for passage in passages] for passages in lists]


def test_a_killed_run_asks_the_teacher_nothing_twice(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragkit.training.mine_negatives._QUESTIONS_AT_ONCE", 2)
    folder, plan = tmp_path / "train", MiningPlan(("bm25",), ("retriever", "reranker"), 12, 4)
    write_labelled(collection, "train", folder)
    first, second = Dying("gull"), Dying()
    with pytest.raises(KeyboardInterrupt):
        mine_negatives(folder, plan, [first], CONFIG)
    assert not (folder / LISTS).exists()
    mine_negatives(folder, plan, [second], CONFIG)
    assert sorted(first.asked[:2] + second.asked) == sorted(f"bird {bird}" for bird in BIRDS if bird != "swan")
    killed = (folder / LISTS).read_bytes()
    whole = tmp_path / "whole"
    write_labelled(collection, "train", whole)
    mine_negatives(whole, plan, [Dying()], CONFIG)
    assert (whole / LISTS).read_bytes() == killed
    with pytest.raises(DataError, match=r"depth: 12 there, 9 now"):
        mine_negatives(whole, MiningPlan(("bm25",), ("retriever", "reranker"), 9, 4), [Dying()], CONFIG)


def test_a_run_is_not_gone_on_with_by_other_weights_of_the_same_name(collection: Path, tmp_path: Path) -> None:
    folder, model = tmp_path / "train", tmp_path / "model"
    plan = MiningPlan(("bm25",), ("retriever", "reranker"), 12, 4)
    rerank = CONFIG.rerank.model_copy(update={"kind": "cross-encoder", "model": str(model)})
    config = CONFIG.model_copy(update={"rerank": rerank})
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"first")
    write_labelled(collection, "train", folder)
    mine_negatives(folder, plan, [Dying()], config)
    (model / "model.safetensors").write_bytes(b"second")
    with pytest.raises(DataError, match="reranker"):
        mine_negatives(folder, plan, [Dying()], config)


def test_teachers_are_named_or_refused(tmp_path: Path) -> None:
    assert make_teachers(["retriever"], CONFIG, tmp_path) == []
    for names, message in (
        (["gpt"], "teacher 'gpt'; give retriever, cross-encoder:NAME"),
        (["reranker"], r'\[rerank\] kind is "none"'),
        (["retriever", "retriever"], "named twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_teachers(names, CONFIG, tmp_path)


def test_a_folder_of_another_split_is_refused_and_a_half_written_one_goes_on(
    collection: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "train"
    write_labelled(collection, "train", folder)
    whole = (folder / QUESTIONS).read_bytes()
    (folder / QUESTIONS).unlink()
    assert write_labelled(collection, "train", folder) == 0
    assert (folder / QUESTIONS).read_bytes() == whole
    with pytest.raises(DataError, match=r"passages.jsonl is not of this collection and split"):
        write_labelled(collection, "test", folder)


def test_questions_without_a_known_source_have_the_teachers_best_first(tmp_path: Path) -> None:
    folder = written(tmp_path / "t")
    asked = [
        TrainingQuestion("u1", "more eee yyyy"),
        TrainingQuestion("u2", "more fff zzzz", sources=("no", "nor")),
    ]
    write_rows(folder / QUESTIONS, asked)
    report = mine_negatives(folder, MiningPlan(("bm25",), depth=10, list_length=3), [], CONFIG)
    assert [entry.passages[0] for entry in read_lists(folder / LISTS)] == ["p4", "p5"]
    assert report.false_negatives is not None
    assert report.false_negatives.num_questions == 0


class Cold:
    """A teacher that gives one question's passages less than all others get."""

    name = "reranker"

    def score(self, questions: Sequence[str], lists: Sequence[Sequence[TrainingPassage]]) -> list[list[float]]:
        return [
            [place / 100 + (0.0 if "gull" in question else 5.0) for place in range(len(passages))]
            for question, passages in zip(questions, lists, strict=True)
        ]


def test_judged_questions_stay_whatever_the_teacher_thinks_of_them(collection: Path, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    write_labelled(collection, "train", folder)
    mine_negatives(folder, MiningPlan(("bm25",), ("reranker",), 12, 4), [Cold()], CONFIG)
    lists = {entry.question: entry for entry in read_lists(folder / LISTS)}
    assert set(lists) == {"crane", "heron", "stork", "gull", "goose"}
    assert lists["gull"].passages[0] == "gull-b"


def test_what_leaves_no_list_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no list is left of 10 questions: 10 of fewer than 20 passages \(give a smaller"
    ):
        mine_negatives(written(tmp_path / "t"), MiningPlan(("bm25",)), [], CONFIG)
