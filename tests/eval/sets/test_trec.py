import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit.errors import DataError
from ragkit.eval.sets.trec import read_qrels, read_run, write_qrels, write_run

ids = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8).filter(
    lambda text: len(text.split()) == 1
)
scores = st.floats(allow_nan=False, allow_infinity=False)


def test_a_run_is_written_as_trec_eval_reads_it(tmp_path):
    path = tmp_path / "run.txt"
    write_run(path, {"q1": {"a": 0.25, "b": 2.0, "c": 0.25}, "q2": {"a": -1.5}}, tag="mine")
    assert path.read_text() == (
        "q1 Q0 b 1 2.0 mine\nq1 Q0 a 2 0.25 mine\nq1 Q0 c 3 0.25 mine\nq2 Q0 a 1 -1.5 mine\n"
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=5), max_size=4))
def test_a_compressed_run_comes_back_as_it_was(tmp_path, run):
    write_run(tmp_path / "run.gz", run)
    write_run(tmp_path / "run.txt", run)
    assert gzip.decompress((tmp_path / "run.gz").read_bytes()) == (tmp_path / "run.txt").read_bytes()
    assert read_run(tmp_path / "run.gz") == run


def test_broken_compressed_files_are_named(tmp_path):
    path = tmp_path / "run.gz"
    write_run(path, {"q1": {f"d{i}": i * 0.37 for i in range(200)}})
    whole = path.read_bytes()
    plain, cut_short, damaged = b"q1 Q0 a 1 1.0 x\n", whole[:-9], whole[:20] + bytes(40) + whole[60:]
    for content in (plain, cut_short, damaged):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"run\.gz"):
            read_run(path)
    path.write_bytes(gzip.compress(b"q1 Q0 a 1 1.0 x\nq1 Q0 b 2 x\n"))
    with pytest.raises(DataError, match=r"run\.gz:2: 5 columns, expected 6"):
        read_run(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=5), max_size=4))
def test_a_run_comes_back_as_it_was(tmp_path, run):
    write_run(tmp_path / "run.txt", run)
    assert read_run(tmp_path / "run.txt") == run


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(qrels=st.dictionaries(ids, st.dictionaries(ids, st.integers(-2, 4), min_size=1, max_size=5), max_size=4))
def test_judgements_come_back_as_they_were(tmp_path, qrels):
    write_qrels(tmp_path / "qrels.txt", qrels)
    assert read_qrels(tmp_path / "qrels.txt") == qrels


def test_windows_line_ends_tabs_and_empty_lines_are_read(tmp_path):
    path = tmp_path / "run.txt"
    path.write_bytes(b"\xef\xbb\xbfq1\tQ0\ta\t1\t2.5\tx\r\n\r\nq1 Q0 b 2 1e-3 x\r\n")
    assert read_run(path) == {"q1": {"a": 2.5, "b": 0.001}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 b 2 0.5", r":2: 5 columns, expected 6"),
        ("q1 Q0 b 2 high x", r":2: the score is 'high', expected a number"),
        ("q1 Q0 b 2 nan x", r":2: the score is 'nan', expected a finite number"),
        ("q1 Q0 a 2 0.5 x", r":2: query 'q1' names document 'a' a second time"),
    ],
)
def test_malformed_run_lines_are_named(tmp_path, line, message):
    path = tmp_path / "run.txt"
    path.write_text(f"q1 Q0 a 1 0.75 x\n{line}\n")
    with pytest.raises(DataError, match=r"run\.txt" + message):
        read_run(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 0 b", r":2: 3 columns, expected 4"),
        ("q1 0 b 0.5", r":2: the grade is '0\.5', expected a whole number"),
        ("q1 0 a 0", r":2: query 'q1' judges document 'a' a second time"),
    ],
)
def test_malformed_judgements_are_named(tmp_path, line, message):
    path = tmp_path / "qrels.txt"
    path.write_text(f"q1 0 a 1\n{line}\n")
    with pytest.raises(DataError, match=r"qrels\.txt" + message):
        read_qrels(path)


@pytest.mark.parametrize("bad", ["two words", "", "line\nend", " a", "\ufeffa"])
def test_ids_that_the_format_cannot_carry_are_refused(tmp_path, bad):
    with pytest.raises(DataError, match="white space|byte order mark"):
        write_run(tmp_path / "run.txt", {"q": {bad: 1.0}})
    with pytest.raises(DataError, match="white space|byte order mark"):
        write_qrels(tmp_path / "qrels.txt", {bad: {"a": 1}})
    assert list(tmp_path.iterdir()) == []


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.txt: No such file"):
        read_run(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("q1 Q0 ä 1 1 x\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt:1: not UTF-8"):
        read_run(tmp_path / "latin.txt")
