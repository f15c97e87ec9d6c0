import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit.errors import DataError
from ragkit.eval.sets.judgements import read_judgements
from ragkit.eval.sets.trec import write_qrels

EXPECTED = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}
names = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
grades = st.dictionaries(names, st.dictionaries(names, st.integers(-2, 4), min_size=1, max_size=4), min_size=1)


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 -1\n",
        "q1\t0\td1\t2\r\n\r\nq1  0  d2  0\r\nq2 Q0 d1 -1\r\n",
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n",
        "q1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n",
        "q1\td1\t2 \nq1\td2\t0\nq2\td1\t -1\n",
    ],
)
def test_both_forms_are_told_apart_by_what_they_hold(tmp_path, text):
    (tmp_path / "qrels").write_text(text)
    assert read_judgements(tmp_path / "qrels") == EXPECTED
    (tmp_path / "qrels.gz").write_bytes(gzip.compress(text.encode()))
    assert read_judgements(tmp_path / "qrels.gz") == EXPECTED


def test_ids_of_beir_may_hold_spaces(tmp_path):
    (tmp_path / "qrels").write_text("query-id\tcorpus-id\tscore\nq 1\td1\t1\n")
    assert read_judgements(tmp_path / "qrels") == {"q 1": {"d1": 1}}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(qrels=grades)
def test_what_is_written_in_either_form_comes_back(tmp_path, qrels):
    write_qrels(tmp_path / "trec", qrels)
    assert read_judgements(tmp_path / "trec") == qrels
    rows = [f"{query}\t{document}\t{grade}" for query, row in qrels.items() for document, grade in row.items()]
    (tmp_path / "beir").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]), "utf-8")
    assert read_judgements(tmp_path / "beir") == qrels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q 1\td1\t1\n", r"qrels: .* can be read as TREC's four columns and as BEIR's three"),
        ("q1 d1 1\n", r"qrels: 3 columns in 'q1 d1 1'"),
        ("q1\t0\td1\t1\tx\n", r"qrels: 5 columns in"),
        ("q1 0 d1 1\nq1 0 d2\n", r"qrels:2: 3 columns, expected 4"),
        ("q1\td1\t1\nq1\td2\n", r"qrels:2: 2 columns, expected query-id, corpus-id, score"),
        ("q1\td1\t1\nq1\td2\t0.5\n", r"qrels:2: the grade is '0\.5'"),
        ("q1\td1\t1_0\n", r"qrels:1: the grade is '1_0', expected a whole number"),
        ("q1\td1\t+1\n", r"qrels:1: the grade is '\+1', expected a whole number"),
        ("q1 0 d1 1\nq1 0 d2 \u0661\n", r"qrels:2: the grade is '\u0661', expected a whole number"),
        ("q1 0 d1 1\nq1 0 d2 1001\n", r"qrels:2: the grade is 1001, expected a whole number from -1000 to 1000"),
        ("q1\td1\t3000000000\n", r"qrels:1: the grade is 3000000000, expected"),
        ("q1 0 d1 -99999999999999999999\n", r"qrels:1: the grade is -99999999999999999999, expected"),
        ("\n", r"qrels holds no judgement"),
        ("query-id\tcorpus-id\tscore\n", r"qrels holds no judgement"),
    ],
)
def test_what_fits_neither_form_is_named(tmp_path, text, message):
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(DataError, match=message):
        read_judgements(tmp_path / "qrels")
