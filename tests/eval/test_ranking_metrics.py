import json
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit.eval.ranking_metrics import Measure, parse_measure, score_run

GOLDEN = Path(__file__).parents[1] / "golden/metrics"
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
    return score_run(INPUT["qrels"], INPUT["run"], [*PYTREC_NAME, "RR@10"])


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


@pytest.mark.parametrize("measure", ["nDCG@10", "AP", "R@100", "P@5"])
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


def test_measures_are_read_by_name():
    assert parse_measure("nDCG@10") == Measure("nDCG", 10)
    assert parse_measure("AP") == Measure("AP", None)
    assert str(parse_measure("R@100")) == "R@100"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndcg@10", r"did you mean nDCG\?.*Known: nDCG, nDCG@k, AP"),
        ("Recall@10", r"unknown measure 'Recall@10'"),
        ("BLEU", r"Known: .*Success@k"),
        ("P", r"needs a cutoff, as in P@10"),
        ("nDCG@0", r"unknown measure 'nDCG@0'"),
        ("nDCG@", r"unknown measure"),
        ("", r"unknown measure ''"),
    ],
)
def test_unknown_measures_are_refused_with_those_known(name, message):
    with pytest.raises(ConfigError, match=message):
        score_run({"q": {"a": 1}}, {}, [name])
