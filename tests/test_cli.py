"""The command line as scripts use it: exit status, JSON on stdout, messages on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from ragkit.cli import main
from tests.warm_python import WarmPython

BM25 = '[embedder]\nname = "none"\n[retrieval]\nmethod = "bm25"\n'


def process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What `python -m ragkit` does, all of it."""
    command = [sys.executable, "-m", "ragkit", *map(str, arguments)]
    root = str(Path(__file__).parents[1])
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process: starting one takes longer than most commands."""
    status = 0
    with (
        chdir(cwd),
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as errors,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["ragkit", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
    return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), errors.getvalue())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython) -> Path:
    """Two good documents, one bad, indexed by terms alone so that no model is loaded."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "docs").mkdir()
    (folder / "docs" / "crane.md").write_text("# Cranes\nThe north crane lifts forty tonnes.")
    (folder / "docs" / "tide.txt").write_text("High tide comes twice a day.")
    (folder / "docs" / "bad.pdf").write_bytes(b"%PDF-1.4 cut")
    (folder / "bm25.toml").write_text(BM25)
    arguments = ("index", "docs", "--corpus", "c", "--config", "bm25.toml", "--json")
    done = warm_python.run(("-m", "ragkit", *arguments), folder)
    (folder / "index.json").write_text(done.stdout)
    assert done.returncode == 1, done.stderr
    return folder


def test_index_reports_what_failed(workspace: Path):
    report = json.loads((workspace / "index.json").read_text())
    assert sorted(report["added"]) == ["crane.md", "tide.txt"]
    [failed] = report["failed"]
    assert failed["path"].endswith("bad.pdf")
    assert failed["reason"]


def test_index_again_changes_nothing_and_still_names_the_failure(workspace: Path):
    again = run("index", "docs/*.md", "docs/*.txt", "--corpus", "c", "--config", "bm25.toml", cwd=workspace)
    assert again.returncode == 0
    assert "0 added, 0 changed, 2 unchanged" in again.stdout


def test_search_as_json(workspace: Path):
    done = process("search", "forty tonnes", "--corpus", "c", "--config", "bm25.toml", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["query"] == "forty tonnes"
    assert found["hits"][0]["rank"] == 1
    assert (found["hits"][0]["document"], found["hits"][0]["page"]) == ("crane.md", 1)
    assert "forty tonnes" in found["hits"][0]["text"]
    assert found["hits"][0]["score"] > 0


def test_ask_as_json_cites(workspace: Path):
    question = "How much does the north crane lift?"
    done = run("ask", question, "--corpus", "c", "--config", "bm25.toml", "--json", cwd=workspace)
    answer = json.loads(done.stdout)
    assert (answer["question"], answer["engine"]) == (question, "extractive")
    assert "forty tonnes" in answer["answer"]
    citation = answer["citations"][0]
    assert (citation["marker"], citation["document"], citation["page"]) == (1, "crane.md", 1)
    assert answer["timings_ms"]["retrieve"] > 0


def test_info_and_verify(workspace: Path):
    info = json.loads(run("info", "--corpus", "c", "--json", cwd=workspace).stdout)
    assert (info["num_documents"], info["embedder"]) == (2, None)
    sound = run("verify", "--corpus", "c", "--json", cwd=workspace)
    assert (sound.returncode, json.loads(sound.stdout)["problems"]) == (0, [])


def test_remove_names_what_is_not_there(workspace: Path):
    (workspace / "extra").mkdir()
    (workspace / "extra" / "gone.txt").write_text("A rope.")
    run("index", "extra", "--corpus", "c", "--config", "bm25.toml", cwd=workspace)
    done = run("remove", "gone.txt", "never.txt", "--corpus", "c", cwd=workspace)
    assert done.returncode == 1
    assert "removed gone.txt" in done.stdout
    assert "never.txt" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["search", "x", "--corpus", "nowhere"], 1, "there is no corpus in nowhere"),
        (["index", "docs"], 2, "Missing option"),
        (["index", "docs", "--corpus", "c", "--pages", "film"], 2, "film"),
        (["index", "docs", "--corpus", "c", "--config", "none.toml"], 2, "none.toml"),
        (["frobnicate"], 2, "No such command"),
        (["index", "no/such/*.pdf", "--corpus", "c2", "--embedder", "none"], 1, ""),
    ],
)
def test_mistakes_have_their_exit_status(workspace: Path, arguments: list[str], status: int, message: str):
    done = run(*arguments, cwd=workspace)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_tells_a_mistake_by_its_status_and_on_stderr(workspace: Path, warm_python: WarmPython):
    arguments = ("index", "docs", "--corpus", "c", "--config", "none.toml")
    done = warm_python.run(("-m", "ragkit", *arguments), workspace)
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_damage_makes_verify_fail(workspace: Path):
    run("index", "docs/tide.txt", "--corpus", "hurt", "--embedder", "none", cwd=workspace)
    [data] = (workspace / "hurt" / "lexical").glob("*.lexical")
    data.write_bytes(b"x")
    done = run("verify", "--corpus", "hurt", cwd=workspace)
    assert done.returncode == 1
    assert f"lexical/{data.name} has 1 bytes" in done.stdout


def test_filters_on_attributes(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    for name in ("old", "new"):
        (tmp_path / "docs" / f"{name}.md").write_text("The crane lifts forty tonnes.")
    lines = [
        '{"file": "old.md", "attributes": {"year": 1999}}',
        '{"file": "new.md", "attributes": {"year": 2024}}',
    ]
    (tmp_path / "docs" / "attributes.jsonl").write_text("\n".join(lines))
    (tmp_path / "bm25.toml").write_text(BM25)
    rest = ("--corpus", "c", "--config", "bm25.toml", "--json")
    assert run("index", "docs", *rest, cwd=tmp_path).returncode == 0
    done = run("search", "crane", "--filter", "year >= 2022", *rest, cwd=tmp_path)
    assert [hit["document"] for hit in json.loads(done.stdout)["hits"]] == ["new.md"]
    asked = run("ask", "What does the crane lift?", "--filter", "not year >= 2022", *rest, cwd=tmp_path)
    assert {hit["document"] for hit in json.loads(asked.stdout)["hits"]} == {"old.md"}
    facts = json.loads(run("info", "--corpus", "c", "--json", cwd=tmp_path).stdout)
    assert facts["attributes"] == {"year": {"number": 2}}
    bad = run("search", "crane", "--filter", "yaer >= 2022", *rest, cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "filter, character 1 (yaer >= 2022): no document has the attribute 'yaer'" in bad.stderr
    assert "known attributes: year (number)" in bad.stderr


def test_help_loses_no_words_to_markup():
    from typer.main import get_command

    from ragkit.cli import app

    waiting = [get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        helps = [command.help, *(getattr(one, "help", None) for one in command.params)]
        assert not [text for text in helps if text and "[" in text], command.name
