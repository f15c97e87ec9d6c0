"""A disk that is full, fails or cannot be written to: an error that says what remains, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit import Corpus, TextRecord
from ragkit.errors import CorpusError
from tests.fakes import HashEmbedder

ROOT = Path(__file__).parents[1]
BM25 = {"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}
# Linux, and the numbers of its headers.
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """failing_disk.c as a library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    made = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


def fail_each(shim: Path, folder: Path, kind: str, error: str, sticky: str, stride: int) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.failing_disk", str(folder), kind, error, sticky, str(stride)]
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(
    ("kind", "stride", "error", "sticky"), [("change", 83, "EIO", "once"), ("create", 67, "ENOSPC", "sticky")]
)
def test_some_writes_fail(shim: Path, tmp_path: Path, kind: str, stride: int, error: str, sticky: str):
    result = fail_each(shim, tmp_path, kind, error, sticky, stride)
    assert result["problems"] == []
    assert result["failed"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["change", "create"])
@pytest.mark.parametrize(("error", "sticky"), [("EIO", "once"), ("ENOSPC", "sticky")])
def test_each_write_fails(shim: Path, tmp_path: Path, kind: str, error: str, sticky: str):
    result = fail_each(shim, tmp_path, kind, error, sticky, 1)
    assert result["problems"] == []
    assert result["failed"] >= 100


def small_files(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_a_limit_on_files_is_named_and_the_same_command_then_succeeds(tmp_path: Path):
    texts = [TextRecord(f"d{i}", f"Ledger entry {i}: " + "rope and tar, " * 40) for i in range(60)]
    with Corpus.open(tmp_path / "corpus", config=BM25) as corpus:
        corpus.add(texts[:2])
        small_files(100_000)
        try:
            with pytest.raises(CorpusError, match="What was committed before stays"):
                corpus.add(texts)
        finally:
            small_files(resource.RLIM_INFINITY)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        assert corpus.verify() == []
        assert {"d0", "d1"} <= {document.id for document in corpus.documents()}
        assert not corpus.add(texts).failed
        assert corpus.verify() == []
        assert len(corpus.documents()) == 60


READ_ONLY = """
import sys
from ragkit import Corpus, TextRecord
from ragkit.errors import CorpusError
from tests.fakes import HashEmbedder

with Corpus.open(sys.argv[1], embedder=HashEmbedder(), create=False) as corpus:
    print([hit.passage.document for hit in corpus.search("crane", 1)], corpus.verify())
    for write in (
        lambda: corpus.add(TextRecord("b", "A barge.")), lambda: corpus.remove("a"), corpus.compact, corpus.repair,
    ):
        try:
            write()
        except CorpusError as error:
            print(error)
"""


def test_a_read_only_folder_is_searched_and_not_written_to(tmp_path: Path):
    path = tmp_path / "corpus"
    with Corpus.open(path, embedder=HashEmbedder()) as corpus:
        corpus.add(TextRecord("a", "The crane lifts forty tonnes."))
    paths = [path, *path.rglob("*")]
    modes = {one: one.stat().st_mode for one in paths}
    for one in paths:
        one.chmod(0o555 if one.is_dir() else 0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_without_the_rights_of_root,
        )
    finally:
        for one, mode in modes.items():
            one.chmod(mode)
    assert done.returncode == 0, done.stderr
    first, *refusals = done.stdout.splitlines()
    assert first == "['a'] []"
    assert refusals == [f"{path} cannot be written to: Permission denied. Nothing was changed"] * 4


def _without_the_rights_of_root() -> None:
    """Root may write where the mode says no; what is run after this may not."""
    if os.geteuid() == 0:
        import ctypes

        if ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
            raise OSError("the rights of root cannot be dropped here")
