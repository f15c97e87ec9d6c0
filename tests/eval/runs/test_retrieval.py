import json
import time
from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import ConfigError, DataError
from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.runs.retrieval import evaluate_retrieval, run_within, search_seconds
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import BeirCollection

COLLECTION = BeirCollection(
    Path("unused"),
    "test",
    queries={"q1": "cats", "q2": "dogs", "q3": "birds"},
    qrels={"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1, "d": 1}},
)
# q1 finds its document first, q2 second, q3 finds nothing.
ANSWERS = {"cats": [("a", 0.9), ("b", 0.1)], "dogs": [("a", 2.0), ("b", 1.0)], "birds": []}


def search(texts, k):
    return [ANSWERS[text][:k] for text in texts]


def test_measures_by_hand():
    report = evaluate_retrieval(COLLECTION, search, ["RR@10", "R@100", "Success@1"])
    assert report.by_query["RR@10"] == {"q1": 1.0, "q2": 0.5, "q3": 0.0}
    assert report.measures == pytest.approx({"RR@10": 0.5, "R@100": 2 / 3, "Success@1": 1 / 3})
    assert report.run == {"q1": {"a": 0.9, "b": 0.1}, "q2": {"a": 2.0, "b": 1.0}, "q3": {}}


def test_k_bounds_what_is_found():
    assert evaluate_retrieval(COLLECTION, search, ["R@2"], k=2).by_query["R@2"]["q2"] == 1.0
    assert evaluate_retrieval(COLLECTION, search, ["AP"], k=1).by_query["AP"]["q2"] == 0.0


def test_the_json_form():
    report = evaluate_retrieval(COLLECTION, search, seconds={"index": 1.5})
    form = json.loads(json.dumps(report.to_json()))
    assert list(form["measures"]) == ["nDCG@10", "RR@10", "R@100"]
    assert form["queries"] == 3
    assert list(form["seconds"]) == ["index", "search", "measure"]
    assert form["seconds"]["index"] == 1.5
    assert form["conventions"] == CONVENTIONS


def test_queries_go_in_batches_and_progress_is_told():
    texts = {f"q{i}": f"text {i}" for i in range(130)}
    collection = BeirCollection(Path("unused"), "test", texts, {query: {"x": 1} for query in texts})
    batches, told = [], []

    def record(batch, k):
        batches.append(list(batch))
        return [[("x", 1.0)]] * len(batch)

    report = evaluate_retrieval(collection, record, progress=lambda done, total: told.append((done, total)))
    assert [text for batch in batches for text in batch] == list(texts.values())
    assert told == [(64, 130), (128, 130), (130, 130)]
    assert report.measures["nDCG@10"] == 1.0


def test_scores_may_be_numpy_numbers():
    report = evaluate_retrieval(COLLECTION, lambda texts, k: [[("a", np.float32(0.5))]] * len(texts), ["RR"])
    assert report.measures["RR"] == pytest.approx(1 / 3)
    assert type(report.run["q1"]["a"]) is float


def test_wrong_answers_of_the_search_are_refused():
    with pytest.raises(DataError, match="a document twice for query 'q1'"):
        evaluate_retrieval(COLLECTION, lambda texts, k: [[("a", 1.0), ("a", 0.5)]] * 3)
    with pytest.raises(DataError, match="3 queries with 2 lists"):
        evaluate_retrieval(COLLECTION, lambda texts, k: [[], []])


def test_an_unknown_measure_is_told_before_anything_is_searched():
    def never(texts, k):
        raise AssertionError

    with pytest.raises(ConfigError, match="unknown measure 'CDG@10'"):
        evaluate_retrieval(COLLECTION, never, ["CDG@10"])


def test_the_table_has_a_row_a_measure():
    table = evaluate_retrieval(COLLECTION, search).table()
    assert list(table.columns[0].cells) == ["nDCG@10", "RR@10", "R@100", "search, s", "measure, s"]
    assert list(table.columns[1].cells)[1] == "0.5000"
    assert table.caption == CONVENTIONS


def test_300_queries_of_1000_documents_take_a_second_or_so():
    queries = {f"q{i}": str(i) for i in range(300)}
    collection = BeirCollection(Path("unused"), "test", queries, {query: {"d5": 1} for query in queries})
    ranked = [(f"d{i}", 1.0 / (i + 1)) for i in range(1000)]
    start = time.process_time()
    report = evaluate_retrieval(collection, lambda texts, k: [ranked] * len(texts))
    assert time.process_time() - start < 5
    assert report.measures["RR@10"] == pytest.approx(1 / 6)


def test_of_searches_within_documents_a_sample_of_all_is_timed(tmp_path):
    queries = {f"q{i}": f"text {i}" for i in range(200)}
    document_of = {query: f"d{i // 2}" for i, query in enumerate(queries)}
    batches = []

    def search_in(document):
        def search_one(texts, k):
            batches.append(len(texts))
            return [[(document, 1.0)]] * len(texts)

        return search_one

    with RunFolder(tmp_path / "run", {}) as kept:
        run = run_within(queries, document_of, search_in, 10, kept=kept)
        rows = kept.finished
    assert run["q7"] == {"d3": 1.0}
    # Of each second document the first query.
    assert [query for query, row in rows.items() if "seconds" in row] == [f"q{i}" for i in range(0, 200, 4)]
    assert sorted(batches) == [1] * 50 + [2] * 100
    assert search_seconds(rows) == pytest.approx(sum(rows[f"q{i}"]["batch_seconds"] for i in range(0, 200, 2)))
