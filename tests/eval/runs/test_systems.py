import hashlib
import json

import pytest

from ragkit.errors import ConfigError, DataError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.runs.systems import answer_scores, read_systems
from tests.compared_runs import write_answers_folder, write_retrieval_folder, write_runs

PRECISION = "citation_precision"


def test_runs_are_named_by_their_files_and_known_by_their_content(tmp_path):
    paths, _ = write_runs(tmp_path)
    systems = read_systems(paths)
    assert [system.name for system in systems] == ["old", "new", "odd"]
    assert systems[1].fingerprint == hashlib.sha256(paths[1].read_bytes()).hexdigest()
    assert systems[0].run is not None
    assert systems[0].run["q2"] == {"o1": 4.0, "r": 3.0, "o2": 2.0, "o3": 1.0}
    assert [system.query_seconds for system in systems] == [None] * 3


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bm25.run").write_text("q1 Q0 d1 1 1 x\n")
    (tmp_path / "a" / "bm25.v2.run").write_text("q1 Q0 d1 1 1 x\n")
    paths = [tmp_path / name for name in ("a/bm25.run", "b/bm25.run", "a/bm25.v2.run")]
    assert [system.name for system in read_systems(paths)] == ["a/bm25", "b/bm25", "a/bm25.v2"]


def test_a_folder_of_a_run_brings_its_manifest_and_times(tmp_path):
    folder = write_retrieval_folder(tmp_path / "fast", "new", 0.25)
    paths, _ = write_runs(tmp_path)
    old, fast = read_systems([paths[0], folder])
    assert (fast.name, fast.query_seconds) == ("fast", 0.25)
    assert fast.run == read_systems(paths[:2])[1].run
    assert fast.manifest is not None
    assert fast.manifest.plan["command"] == "eval retrieval"
    assert old.manifest is None


def test_times_are_medians_so_that_loading_models_does_not_count(tmp_path):
    folder = tmp_path / "run"
    with RunFolder(folder, {"command": "eval retrieval"}) as kept:
        times = {"q1": 60.0, "q2": 0.25, "q3": 0.5}
        kept.record({query: {"ranking": [["r", 1.0]], "seconds": seconds} for query, seconds in times.items()})
        kept.complete()
    assert read_systems([folder, write_runs(tmp_path)[0][0]])[0].query_seconds == 0.5


def test_a_run_that_lost_rows_is_refused(tmp_path):
    folders = [write_retrieval_folder(tmp_path / name, name, 0.5) for name in ("old", "new")]
    path = folders[1] / "finished.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(DataError, match=r"new was finished with 4 queries, and .*finished\.jsonl has 3; give its"):
        read_systems(folders)


def test_rankings_are_read_from_the_rows_where_there_is_no_trec_run(tmp_path):
    folders = [write_retrieval_folder(tmp_path / name, name, 0.5) for name in ("old", "new")]
    whole = read_systems(folders)
    (folders[1] / "run.trec").unlink()
    assert read_systems(folders)[1].run == whole[1].run


def test_folders_of_other_commands_are_refused(tmp_path):
    folder = write_retrieval_folder(tmp_path / "run", "old", 0.5)
    with RunFolder(tmp_path / "speed", {"command": "eval context"}) as kept:
        kept.record({"q1": {"tokens": 3}})
        kept.complete()
    with pytest.raises(DataError, match=r"speed holds neither rankings nor scored answers"):
        read_systems([folder, tmp_path / "speed"])


def test_scores_of_answers_count_where_all_systems_have_them(tmp_path):
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5, PRECISION: 1}, "q2": {"f1": 1, PRECISION: 0.5}})
    b = write_answers_folder(tmp_path / "b", {"q1": {"f1": 0.25}, "q2": {"f1": 0.5, PRECISION: 0}})
    systems = read_systems([a, b])
    assert answer_scores(systems, ["f1", PRECISION]) == [
        {"f1": {"q1": 0.5, "q2": 1.0}, PRECISION: {"q2": 0.5}},
        {"f1": {"q1": 0.25, "q2": 0.5}, PRECISION: {"q2": 0.0}},
    ]
    shared = ("exact_match", "f1", "anls", "vqa", "containment", PRECISION, "citation_recall", "answered")
    assert tuple(answer_scores(systems, [])[0]) == shared
    with pytest.raises(ConfigError, match=rf"have 'bleu' for; they share {', '.join(shared)}"):
        answer_scores(systems, ["bleu"])


def test_answers_are_scored_anew_whatever_scores_they_were_kept_with(tmp_path):
    folders = [write_answers_folder(tmp_path / name, {"q1": {"f1": 0.5}}) for name in ("a", "b")]
    rows = [json.loads(line) for line in (folders[1] / "finished.jsonl").read_text().splitlines()]
    (folders[1] / "finished.jsonl").write_text(
        "".join(json.dumps({**row, "scores": {"f1": 0.0, "bleu": 1.0}}) + "\n" for row in rows)
    )
    first, second = answer_scores(read_systems(folders), [])
    assert first == second
    assert second["f1"] == {"q1": 0.5}


def test_answers_to_other_queries_are_refused_with_what_differs(tmp_path):
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5}, "q2": {"f1": 1.0}})
    b = write_answers_folder(tmp_path / "b", {"q1": {"f1": 0.5}, "q3": {"f1": 1.0}, "q4": {"f1": 1.0}})
    with pytest.raises(
        DataError, match=r"2 in .*/a, 3 in .*/b; 1 \('q2' …\) only in .*/a, 2 \('q3' …\) only in .*/b"
    ):
        answer_scores(read_systems([a, b]), [])


def test_systems_of_two_kinds_are_refused(tmp_path):
    paths, _ = write_runs(tmp_path)
    answers = write_answers_folder(tmp_path / "answers", {"q1": {"f1": 0.5}})
    with pytest.raises(DataError, match=r"old\.run holds a ranking and .*answers answers; compare .* one kind"):
        read_systems([paths[0], answers])


def test_what_cannot_be_compared_is_refused(tmp_path):
    paths, _ = write_runs(tmp_path)
    with pytest.raises(ConfigError, match="1 system named, expected at least 2"):
        read_systems(paths[:1])
    with pytest.raises(ConfigError, match=r"old\.run is named twice"):
        read_systems([paths[0], tmp_path / "." / "old.run"])
    with pytest.raises(DataError, match=r"cannot read .*none\.run"):
        read_systems([paths[0], tmp_path / "none.run"])
    begun = write_answers_folder(tmp_path / "begun", {"q1": {"f1": 0.5}}, is_complete=False)
    with pytest.raises(DataError, match=r"begun is not finished; give its command again"):
        read_systems([paths[0], begun])


def test_a_row_that_is_no_answer_is_named_with_its_file(tmp_path):
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5}})
    with RunFolder(tmp_path / "b", {"command": "eval answers"}) as kept:
        kept.record({"q1": {"scores": {"f1": 1.0}}})
        kept.complete()
    with pytest.raises(DataError, match=r"b/finished\.jsonl: query 'q1' has no row of an answer \(KeyError"):
        answer_scores(read_systems([a, tmp_path / "b"]), [])
