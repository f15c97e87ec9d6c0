from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.errors import DataError
from ragkit.eval.runs.run_folder import FINISHED, MANIFEST, RunFolder, read_finished, read_manifest
from tests.warm_python import WarmPython

PLAN = {"command": "retrieval", "config": {"retrieval": {"method": "bm25", "depth": 500}}, "seed": 0}


def test_a_run_is_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    with RunFolder(folder, PLAN, {"device": "cpu"}) as run:
        assert run.finished == {}
        run.record({"q1": {"scores": {"d1": 0.5}}, "q2": {"scores": {}}})
        run.record({"ü 3": {"text": "line\nbreak\u2028"}})
    assert read_manifest(folder).completed is None
    with RunFolder(folder, PLAN, {"device": "cuda"}) as run:
        assert list(run.finished) == ["q1", "q2", "ü 3"]
        assert run.finished["ü 3"] == {"text": "line\nbreak\u2028"}
        run.record({"q4": {}})
        run.complete({"measures": {"nDCG@10": 0.25}})
    manifest = read_manifest(folder)
    assert manifest.plan == PLAN
    assert [session["device"] for session in manifest.sessions] == ["cpu", "cuda"]
    assert [session["queries_after"] for session in manifest.sessions] == [3, 4]
    assert manifest.completed is not None
    assert manifest.completed["measures"] == {"nDCG@10": 0.25}
    assert manifest.completed["queries"] == 4
    assert read_finished(folder)["q1"] == {"scores": {"d1": 0.5}}


def test_rows_read_the_same_in_the_session_that_made_them(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", PLAN) as run:
        run.record({"q": {"pages": (1, 2), "by": {3: "x"}}})
        now = dict(run.finished)
    assert now == read_finished(tmp_path / "r") == {"q": {"pages": [1, 2], "by": {"3": "x"}}}


def test_a_query_is_finished_once(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", PLAN) as run:
        run.record({"q1": {}})
        with pytest.raises(ValueError, match="'q1' was finished before"):
            run.record({"q2": {}, "q1": {}})
    assert list(read_finished(tmp_path / "r")) == ["q1"]


def test_another_plan_is_refused_with_each_difference(tmp_path: Path) -> None:
    RunFolder(tmp_path / "r", PLAN).close()
    other = {"command": "retrieval", "config": {"retrieval": {"method": "dense", "depth": 500}}, "split": "dev"}
    before = (tmp_path / "r" / MANIFEST).read_bytes()
    with pytest.raises(DataError) as refused:
        RunFolder(tmp_path / "r", other)
    assert str(refused.value).splitlines()[1:] == [
        '  config.retrieval.method: "bm25" there, "dense" now',
        "  seed: 0 there, (nothing) now",
        '  split: (nothing) there, "dev" now',
    ]
    assert (tmp_path / "r" / MANIFEST).read_bytes() == before


def test_a_torn_last_line_is_not_finished(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", PLAN) as run:
        run.record({"q1": {"n": 1}, "q2": {"n": 2}})
    path = tmp_path / "r" / FINISHED
    for cut in range(1, len(b'{"query": "q2", "n": 2}\n') + 1):
        torn = path.read_bytes()[:-cut]
        (tmp_path / f"t{cut}").mkdir()
        (tmp_path / f"t{cut}" / FINISHED).write_bytes(torn)
        (tmp_path / f"t{cut}" / MANIFEST).write_bytes((tmp_path / "r" / MANIFEST).read_bytes())
        with RunFolder(tmp_path / f"t{cut}", PLAN) as run:
            assert list(run.finished) == ["q1"]
            run.record({"q2": {"n": 2}})
        assert read_finished(tmp_path / f"t{cut}") == {"q1": {"n": 1}, "q2": {"n": 2}}


def test_a_line_that_is_broken_is_named(tmp_path: Path) -> None:
    RunFolder(tmp_path / "r", PLAN).close()
    (tmp_path / "r" / FINISHED).write_text('{"query": "q1"}\n{"n": 2}\n')
    with pytest.raises(DataError, match=rf"{FINISHED}:2: not the row of a query"):
        RunFolder(tmp_path / "r", PLAN)
    # The lock was let go of.
    (tmp_path / "r" / FINISHED).write_text('{"query": "q1"}\n')
    RunFolder(tmp_path / "r", PLAN).close()


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", PLAN) as run:
        run.record({"q1": {"n": 1}, "q2": {"n": 2}})
    path = tmp_path / "r" / FINISHED
    path.write_bytes(path.read_bytes().replace(b'"q2"', b'"q\xff"'))
    with pytest.raises(DataError, match=rf"{FINISHED}:2: not the row of a query \(UnicodeDecodeError"):
        RunFolder(tmp_path / "r", PLAN)
    with pytest.raises(DataError, match=rf"{FINISHED}:2: not the row of a query \(UnicodeDecodeError"):
        read_finished(tmp_path / "r")


def test_showing_a_complete_run_changes_nothing(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", PLAN, {"device": "cpu"}) as run:
        run.record({"q1": {"n": 1}})
        run.note({"index_s": 2.5})
        run.complete({"seconds": {"search": 1.5}})
    before = (tmp_path / "r" / MANIFEST).read_bytes()
    assert json.loads(before)["sessions"][0]["index_s"] == 2.5
    with RunFolder(tmp_path / "r", PLAN, {"device": "cuda"}) as run:
        run.note({"index_s": 0.5})
        assert run.manifest.completed is not None
    assert (tmp_path / "r" / MANIFEST).read_bytes() == before


def test_a_run_that_lost_rows_is_not_complete(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", PLAN) as run:
        run.record({"q1": {"n": 1}, "q2": {"n": 2}})
        run.complete()
    RunFolder(tmp_path / "r", PLAN).close()
    assert read_manifest(tmp_path / "r").completed is not None
    path = tmp_path / "r" / FINISHED
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    RunFolder(tmp_path / "r", PLAN).close()
    assert read_manifest(tmp_path / "r").completed is None


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path / "r", PLAN),
        pytest.raises(DataError, match="another process works on the run in .*wait until it ends"),
    ):
        RunFolder(tmp_path / "r", PLAN)
    RunFolder(tmp_path / "r", PLAN).close()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"holds other files and no manifest.json; name an empty or a new folder"):
        RunFolder(tmp_path, PLAN)
    with pytest.raises(DataError, match=r"cannot keep a run in .*thesis.tex"):
        RunFolder(tmp_path / "thesis.tex", PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(DataError, match="cannot read .*name the folder of a run"):
        read_manifest(tmp_path)


def test_a_killed_run_keeps_what_it_recorded(tmp_path: Path, warm_python: WarmPython) -> None:
    code = f"""
import sys
from pathlib import Path
from ragkit.eval.runs.run_folder import RunFolder
run = RunFolder(Path({str(tmp_path / "r")!r}), {PLAN!r})
for number in range(1_000_000):
    run.record({{f"q{{number}}": {{"n": number}}}})
    print(number, flush=True)
"""
    with warm_python.start(["-c", code]) as process:
        told = [next(process.stdout) for _ in range(5)]
        process.kill()
        told += list(process.stdout)
    with RunFolder(tmp_path / "r", PLAN) as run:
        assert len(run.finished) - len(told) in (0, 1)
        assert [row["n"] for row in run.finished.values()] == list(range(len(run.finished)))
    sessions = json.loads((tmp_path / "r" / MANIFEST).read_text("utf-8"))["sessions"]
    assert sessions[1]["queries_before"] == len(run.finished)
