"""`ragkit.evaluations.speed.gpu_check`: its table over a stand-in for GPUs, and what its import needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ragkit.evaluations.speed import gpu_check
from ragkit.indexers.vectors.shard_index import Effort, as_shard_index, build_index, exact_index
from tests.indexers.vectors.stand_in_gpus import stand_in_gpus
from tests.indexers.vectors.vector_corpus import clustered

ROOT = Path(__file__).parents[3]
# Imports nothing but the standard library, numpy, pydantic and ragkit.
IMPORT_ALONE = """
import importlib.abc, sys
LIBRARIES = {"numpy", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in LIBRARIES | {"ragkit"} | set(sys.stdlib_module_names) and not top.startswith("_"):
            raise ModuleNotFoundError(f"{name} is not to be imported")
sys.meta_path.insert(0, Guard())
import ragkit.evaluations.speed.gpu_check
"""


def test_without_a_gpu_it_says_so_and_is_content(capsys: pytest.CaptureFixture[str]):
    assert gpu_check.main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith('no GPU to check: index.device = "cuda": FAISS ')
    assert said.count("\n") == 1


def test_a_gpu_that_is_not_there_is_an_error_that_names_those_that_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with stand_in_gpus(monkeypatch, 2):
        assert gpu_check.main(["--device", "cuda:9"]) == 2
    said = capsys.readouterr()
    assert said.err == "--device cuda:9: no such GPU; there are cuda:0, cuda:1\n"
    assert not said.out


@pytest.mark.parametrize("device", ["cpu", "cuda:x", "gpu"])
def test_what_is_no_gpu_is_refused(device: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        gpu_check.main(["--device", device])
    assert ended.value.code == 2
    assert f"{device!r} is neither" in capsys.readouterr().err


def test_it_needs_numpy_and_pydantic_to_be_imported():
    # pydantic looks for plugins among what is installed.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYDANTIC_DISABLE_PLUGINS": "1"}
    command = [sys.executable, "-c", IMPORT_ALONE]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_one_table_has_every_step_of_every_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(gpu_check, "_SECONDS", 0.0)
    monkeypatch.setattr(gpu_check, "_REPEATS", 1)
    monkeypatch.setattr(gpu_check, "BATCHES", (1, 64))
    monkeypatch.setattr(gpu_check, "measure_bandwidth", lambda gpus: (1e12, "memory bandwidth 1,000 GB/s"))
    monkeypatch.setattr(gpu_check, "_machine", lambda gpus: "a stand-in")
    out = tmp_path / "gpu.md"
    with stand_in_gpus(monkeypatch, 2):
        assert gpu_check.main(["--count", "2000", "--dim", "32", "--out", str(out)]) == 0
    report = out.read_text("utf-8")
    assert capsys.readouterr().out == report
    lines = [line for line in report.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(cells) for cells in table} == {11}
    assert [cells[:2] for cells in table[2:]] == [
        ["flat", "search, batch 1"],
        ["flat", "search, batch 64"],
        ["ivf-flat", "build"],
        ["ivf-flat", "search, batch 1"],
        ["ivf-flat", "search, batch 64"],
        ["ivf-pq", "build"],
        ["ivf-pq", "search, batch 1"],
        ["ivf-pq", "search, batch 64"],
    ]
    # 2,000 vectors of 32 floats, for one query and shared by 64.
    assert [cells[6] for cells in table[2:4]] == ["0.256 MB", "0.004 MB"]
    assert all(cells[10] == "100.00 %" for cells in table[2:] if cells[1] != "build")
    assert report.count("recall@10") == 2


def test_bytes_read_are_those_of_the_lists_looked_at():
    vectors = clustered(900)
    assert gpu_check.bytes_read(exact_index(vectors), vectors[:7], Effort(0, 0)) == 900 * 32 * 4
    index = build_index(vectors, "IVF6,Flat")
    everything = gpu_check.bytes_read(as_shard_index(index, vectors), vectors[:7], Effort(6, 0))
    assert everything == 7 * 900 * 32 * 4
    _, nearest = index.quantizer.search(vectors[:7], 1)
    sizes = [index.invlists.list_size(int(i)) for i in nearest[:, 0]]
    assert gpu_check.bytes_read(as_shard_index(index, vectors), vectors[:7], Effort(1, 0)) == sum(sizes) * 32 * 4
    codes = as_shard_index(build_index(vectors, "IVF6,PQ4np"), vectors)
    assert gpu_check.bytes_read(codes, vectors[:7], Effort(6, 4)) == 7 * 900 * 4


def test_the_median_of_enough_runs_counts(monkeypatch: pytest.MonkeyPatch):
    ticks = iter(np.cumsum([0, 5, 0, 1, 0, 9, 0, 2]).tolist())
    monkeypatch.setattr(gpu_check.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(gpu_check, "_SECONDS", 10.0)
    ran: list[int] = []
    assert gpu_check.median_seconds(lambda: ran.append(1)) == 5
    assert len(ran) == 4
