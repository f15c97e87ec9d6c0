import json
import math
from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import ConfigError
from ragkit.eval.measures.ranking_metrics import Measure, check_depth, parse_measure, score_run

GOLDEN = Path(__file__).parents[2] / "golden/metrics"
INPUT = json.loads((GOLDEN / "input.json").read_text("utf-8"))
EXPECTED = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
PYTREC_NAME = {
    "AP": "map",
    "AP@10": "map_cut_10",
    "RR": "recip_rank",
    "P@5": "P_5",
    "P@10": "P_10",
    "R@10": "recall_10",
    "R@100": "recall_100",
    "nDCG": "ndcg",
    "nDCG@10": "ndcg_cut_10",
    "Success@1": "success_1",
}
OWN = ["nDCG@10", "RR@10", "RR", "AP", "R@10", "R@100", "P@5"]


@pytest.fixture(scope="module")
def scores():
    return score_run(INPUT["qrels"], INPUT["run"], [*PYTREC_NAME, "RR@10", "P(rel=2)@5"])


@pytest.mark.parametrize("measure", list(PYTREC_NAME))
def test_every_query_scores_as_pytrec_eval_says(scores, measure):
    expected = {query: row[PYTREC_NAME[measure]] for query, row in EXPECTED["pytrec_eval"]["per_query"].items()}
    expected["q06"] = 0.0  # judged, but not in the run; pytrec_eval leaves it out
    assert scores.by_query[measure] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("measure", OWN)
def test_every_query_scores_as_worked_out_in_trec_order(scores, measure):
    expected = {query: row[measure] for query, row in EXPECTED["own_arithmetic_trec_rule"].items()}
    expected["q06"] = 0.0
    assert scores.by_query[measure] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("measure", ["nDCG@10", "AP", "AP@10", "RR", "R@10", "R@100", "P@5", "P(rel=2)@5"])
def test_means_count_missing_queries_as_zero(scores, measure):
    # ir-measures counts q06 too; its RR@10 follows another rule on ties.
    assert scores.means[measure] == pytest.approx(EXPECTED["ir_measures"]["aggregate"][measure], abs=1e-9)


def test_values_by_hand():
    # Ranking b, a, c; a has grade 2 and d, not found, grade 1.
    qrels = {"q": {"a": 2, "d": 1, "c": 0}}
    run = {"q": {"b": 3.0, "a": 2.0, "c": 1.0}}
    means = score_run(
        qrels, run, ["RR", "RR@1", "RR@2", "P@2", "R@2", "AP", "Success@1", "Success@2", "nDCG"]
    ).means
    # DCG = 2 / log2(3); the ideal 2 / log2(2) + 1 / log2(3).
    assert means == pytest.approx(
        {
            "RR": 0.5,
            "RR@1": 0.0,
            "RR@2": 0.5,
            "P@2": 0.5,
            "R@2": 0.5,
            "AP": 0.25,
            "Success@1": 0.0,
            "Success@2": 1.0,
            "nDCG": 1.2618595071429148 / 2.6309297535714573,
        },
        abs=1e-12,
    )


def test_a_query_that_found_nothing_or_was_not_run_is_zero():
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1}}
    scores = score_run(qrels, {"q1": {"a": 1.0}, "q2": {}, "unjudged": {"a": 1.0}}, ["nDCG@10", "RR@10"])
    assert scores.by_query["RR@10"] == {"q1": 1.0, "q2": 0.0, "q3": 0.0}
    assert scores.means["nDCG@10"] == pytest.approx(1 / 3)


def test_no_query_of_the_run_is_judged():
    assert score_run({"q1": {"a": 1}}, {}, ["AP"]).means == {"AP": 0.0}


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("nDCG@10", "nDCG@10"),
        ("ndcg@10", "nDCG@10"),
        ("NDCG_at_10", "nDCG@10"),
        ("ndcg_cut_10", "nDCG@10"),
        ("AP", "AP"),
        ("map", "AP"),
        ("MAP@100", "AP@100"),
        ("mrr", "RR"),
        ("MRR@10", "RR@10"),
        ("recip_rank", "RR"),
        ("r@100", "R@100"),
        ("recall@100", "R@100"),
        ("recall_1000", "R@1000"),
        ("precision@5", "P@5"),
        ("P_5", "P@5"),
        ("hit@5", "Success@5"),
        ("Hits@5", "Success@5"),
        ("hit_rate@5", "Success@5"),
        ("Hit-Rate_at_5", "Success@5"),
        ("P(rel=2)@10", "P(rel=2)@10"),
        ("MAP(rel=2)", "AP(rel=2)"),
        ("mrr(REL=1)@3", "RR@3"),
    ],
)
def test_measures_are_read_as_people_write_them(written, canonical):
    assert str(parse_measure(written)) == canonical
    assert str(parse_measure(canonical)) == canonical


def test_measures_have_parts():
    assert parse_measure("nDCG@10") == Measure("nDCG", 10)
    assert parse_measure("AP") == Measure("AP", None)
    assert parse_measure("precision(rel=3)@5") == Measure("P", 5, 3)


def test_two_names_of_one_measure_are_one():
    assert score_run({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["MRR@10", "rr@10"]).means == {"RR@10": 1.0}


@pytest.mark.parametrize("measure", ["AP", "AP@10", "RR", "P@5", "P@10", "R@10", "R@100", "Success@1"])
def test_a_higher_bar_of_relevance_scores_as_pytrec_eval_says(measure):
    name = measure.replace("@", "(rel=2)@") if "@" in measure else f"{measure}(rel=2)"
    found = score_run(INPUT["qrels"], INPUT["run"], [name]).by_query[name]
    expected = {
        query: row[PYTREC_NAME[measure]] for query, row in EXPECTED["pytrec_eval"]["relevance_level_2"].items()
    }
    expected["q06"] = 0.0
    assert found == pytest.approx(expected, abs=1e-9)
    assert found != score_run(INPUT["qrels"], INPUT["run"], [measure]).by_query[measure]


def test_every_number_of_the_golden_file_has_a_test():
    counts = {"num_rel", "num_rel_ret"}
    assert {*EXPECTED["pytrec_eval"]["per_query"]["q00"]} - counts == {*PYTREC_NAME.values()}
    assert {*EXPECTED["pytrec_eval"]["relevance_level_2"]["q00"]} - counts <= {*PYTREC_NAME.values()}
    assert {*EXPECTED["own_arithmetic_trec_rule"]["q00"]} == {*OWN}


def test_means_are_pytrec_evals_times_the_share_of_queries_it_counts(scores):
    # It leaves q06, which is judged and was not run, out of its means: 10 queries of 11.
    expected = EXPECTED["pytrec_eval"]["mean_over_evaluated_queries"]
    assert {name: scores.means[name] * 11 / 10 for name in PYTREC_NAME} == pytest.approx(
        {name: expected[theirs] for name, theirs in PYTREC_NAME.items()}, abs=1e-9
    )


@pytest.mark.parametrize("cutoff", [1, 2, 3, 5, 20, 1000])
def test_cut_measures_equal_plain_arithmetic_in_trec_order(cutoff):
    names = [f"{name}@{cutoff}" for name in ("nDCG", "AP", "RR", "P", "R", "Success")]
    found = score_run(INPUT["qrels"], INPUT["run"], names).by_query
    for query, grades in INPUT["qrels"].items():
        for name, value in zip(names, arithmetic(grades, INPUT["run"].get(query, {}), cutoff), strict=True):
            assert found[name][query] == pytest.approx(value, abs=1e-9), (name, query)


def arithmetic(grades: dict[str, int], scores: dict[str, float], cutoff: int) -> list[float]:
    """nDCG, AP, RR, P, R and Success, written down from their definitions."""
    by_id = sorted(scores, reverse=True)
    order = sorted(by_id, key=lambda document: -np.float32(scores[document]))[:cutoff]
    gains = [max(grades.get(document, 0), 0) for document in order]
    best = sorted((max(grade, 0) for grade in grades.values()), reverse=True)[:cutoff]
    num_relevant = sum(grade > 0 for grade in grades.values())
    ranks = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    ideal = dcg(best)
    return [
        dcg(gains) / ideal if ideal else 0.0,
        sum(found / rank for found, rank in enumerate(ranks, 1)) / num_relevant if num_relevant else 0.0,
        1 / ranks[0] if ranks else 0.0,
        len(ranks) / cutoff,
        len(ranks) / num_relevant if num_relevant else 0.0,
        float(bool(ranks)),
    ]


def dcg(gains: list[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDGC@10", r"did you mean nDCG\? Known: nDCG, nDCG@k, AP"),
        ("recal@10", r"unknown measure 'recal@10'; did you mean R\?"),
        ("BLEU", r"unknown measure 'BLEU'\. Known: .*Success@k"),
        ("P", r"needs a cutoff, as in P@10"),
        ("precision(rel=2)", r"needs a cutoff, as in P@10"),
        ("nDCG@0", r"unknown measure 'nDCG@0'"),
        ("nDCG@", r"unknown measure"),
        ("P(rel=0)@5", r"unknown measure"),
        ("nDCG(rel=2)@10", r"takes no rel"),
        ("", r"unknown measure ''"),
    ],
)
def test_unknown_measures_are_refused_with_those_known(name, message):
    with pytest.raises(ConfigError, match=message):
        score_run({"q": {"a": 1}}, {}, [name])


def test_a_measure_that_looks_deeper_than_the_ranking_is_refused():
    with pytest.raises(ConfigError, match=r"^R@2000 looks at 2,000 documents, and 1,000 are ranked for a query$"):
        check_depth(["nDCG@10", "recall@2000"], 1000)
    check_depth(["R@1000", "AP"], 1000)
