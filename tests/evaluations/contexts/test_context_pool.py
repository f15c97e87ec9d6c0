"""Passages ranked, chosen and put in order, as the prompts of a sweep show them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ragkit.config import parse_config
from ragkit.errors import ConfigError
from ragkit.eval.contexts.context_probe import make_sweep
from ragkit.eval.sets.context_sets import read_context_set
from ragkit.evaluations.contexts.context_pool import ContextPool
from ragkit.evaluations.contexts.context_sweep import sweep_contexts
from ragkit.indexers.lock import writer_lock
from tests.evaluations.contexts.context_house import BIRDS, CONFIG, PlaceEngine, shown, sweep, write_set
from tests.fakes import HashEmbedder


def test_each_order_puts_the_passages_where_it_says(tmp_path: Path):
    engine = PlaceEngine()
    report = sweep(tmp_path, engine, make_sweep("4", "rank,ends,reverse,document", "set", "", 1, 0))
    bird = engine.asked[0].question.split()[1][:-1]
    i = BIRDS.index(bird)
    gold, first = f"A {bird} {bird} weighs {70 + i} ounces.", f"The {bird} flies over reed {i}."
    stone, roof = f"Nothing grows on stone {i}.", f"Rain fell on roof {i}."
    # The last passage holds the answer and is never admitted; two that BM25 does not find keep the set's order.
    assert [shown(request) for request in engine.asked] == [
        [gold, first, stone, roof],
        [gold, stone, roof, first],
        [roof, stone, first, gold],
        [first, stone, gold, roof],
    ]
    assert [summary.accuracy for summary in report.cells] == [1.0, 1.0, 0.0, 0.0]
    assert "numbered sources" in engine.asked[0].messages[0].content
    assert engine.asked[0].messages[1].content.endswith(f"Question: Which {bird}?")


@pytest.mark.parametrize(("negatives", "k"), [("random", 5), ("bm25", 2), ("dense", 5)])
def test_distractors_of_the_whole_set_hold_no_answer(tmp_path: Path, negatives: str, k: int):
    engine = PlaceEngine()
    config = parse_config({"lexical": {"language": "none"}, "generation": {"engine": "echo"}})
    asked = make_sweep(f"{k},99", "rank", negatives, "", 100, 0)
    report = sweep_contexts(
        write_set(tmp_path),
        config,
        asked,
        tmp_path / "run",
        engine=engine,  # type: ignore[arg-type]
        embedder=HashEmbedder(),
    )
    assert report.cells[0].num_asked == 6
    assert report.cells[1].skipped == {"too few passages without an answer": 6}
    pool = [
        ctx["text"]
        for line in (tmp_path / "birds.jsonl").read_text().splitlines()
        for ctx in json.loads(line)["ctxs"]
    ]
    for request in engine.asked:
        number = BIRDS.index(request.question.split()[1][:-1])
        admitted = [text for text in pool if str(70 + number) not in text]
        distractors = {text for text in shown(request) if text in admitted}
        assert len(distractors) == k - 1
        if negatives == "random":
            assert not any(text.endswith(f" {number}.") for text in distractors)
        elif negatives == "bm25":
            assert distractors == {f"The {BIRDS[number]} flies over reed {number}."}
        else:
            cosines = HashEmbedder().embed_queries(admitted) @ HashEmbedder().embed_queries([request.question])[0]
            assert distractors == {admitted[i] for i in np.argsort(-cosines)[: k - 1]}


def test_counterfactual_passages_come_first_and_answers_from_them_are_counted(tmp_path: Path):
    row = {
        "id": 0,
        "query": "Where is the weir?",
        "answer": "Ulm",
        "fakeanswer": "Bonn",
        "positive": ["The weir is in Ulm."],
        "positive_wrong": ["The weir is in Bonn."],
        "negative": ["It rained.", "It snowed."],
    }
    path = tmp_path / "fact.jsonl"
    path.write_text(json.dumps(row))
    engine = PlaceEngine(place=-1)
    asked = make_sweep("2,3", "rank", "set,counterfactual", "", 9, 0)
    report = sweep_contexts(path, parse_config(CONFIG), asked, tmp_path / "run", engine=engine)  # type: ignore[arg-type]
    assert [sorted(shown(request)) for request in engine.asked] == [
        ["It rained.", "The weir is in Ulm."],
        ["It rained.", "It snowed.", "The weir is in Ulm."],
        ["The weir is in Bonn.", "The weir is in Ulm."],
        ["It rained.", "The weir is in Bonn.", "The weir is in Ulm."],
    ]
    wrong = [float("Bonn" in shown(request)[-1]) for request in engine.asked]
    assert [summary.misled for summary in report.cells] == wrong


def test_counterfactual_passages_are_refused_where_the_set_has_none(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"birds\.jsonl has no counterfactual passages"):
        sweep(tmp_path, PlaceEngine(), make_sweep("2", "rank", "counterfactual", "", 1, 0))


def test_sweeps_of_one_set_may_run_side_by_side(tmp_path: Path):
    context_set, config = read_context_set(write_set(tmp_path)), parse_config(CONFIG)
    with ContextPool(context_set, config, 0) as first:
        first.index(None)
        with writer_lock(first.corpus.path), ContextPool(context_set, config, 0) as second:
            second.index(None)
            question = context_set.questions[0]
            assert len(second.ranked(question, second.probe(question, "set", 4))) == 4


def test_the_questions_own_gold_passage_alone_is_placed(tmp_path: Path):
    engine = PlaceEngine(place=3)
    report = sweep(tmp_path, engine, make_sweep("12", "", "random", "1,4,12", 100, 0))
    # Among eleven passages of other questions there are gold ones, too.
    others = {text for request in engine.asked for text in shown(request) if "weighs" in text}
    assert len(others) == len(BIRDS)
    assert [summary.accuracy for summary in report.cells] == [0.0, 1.0, 0.0]
    rows = [json.loads(line) for line in (tmp_path / "run/finished.jsonl").read_text().splitlines()]
    assert {(row["query"].rpartition("-")[2], *row["gold_at"]) for row in rows} == {("1", 1), ("4", 4), ("12", 12)}
