"""`ragkit eval speed --scale`, over a real corpus of a few hundred documents."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit.commands.eval_app import eval_app
from ragkit.config import parse_config
from ragkit.errors import DataError
from ragkit.eval.speed.clustered_vectors import clustered_queries, clustered_vectors
from ragkit.eval.speed.index_speed import Build, IndexSpeedPlan
from ragkit.eval.speed.index_speed_report import IndexSpeedReport
from ragkit.evaluations.speed.index_probe import Probe, probe
from ragkit.evaluations.speed.index_speed import Scale, measure_index_speed
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.vectors.vector_indexes import open_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS
from tests.warm_python import Done, WarmPython

pytest.importorskip("faiss")

SIZE, DIM = 300, 32
PLAN = IndexSpeedPlan(
    sizes=(SIZE,),
    kinds=("flat", "hnsw"),
    dim=DIM,
    num_queries=40,
    repeats=1,
    num_changed=20,
    timings=((1, 5), (64, 2)),
)
# Effort is not raised where one neighbour in five may be missed, so that recall is below 1.
CONFIG = parse_config({"index": {"min_vectors": 100, "recall_target": 0.8}})


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython
) -> tuple[Path, IndexSpeedReport, list[str]]:
    """By forks of one process: starting some twenty would take longer than all else."""
    folder, told = tmp_path_factory.mktemp("scale"), []

    def fork(command: list[str], *, input: str, **_: object) -> Done:
        assert command[0] == sys.executable
        return warm_python.run(command[1:], told=input)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragkit.evaluations.speed.index_probe.subprocess", SimpleNamespace(run=fork))
        report = measure_index_speed(CONFIG, PLAN, folder, told.append)
    return folder / f"{SIZE}-{DIM}d-seed0", report, told


def test_every_kind_is_measured_and_every_change_seen(measured) -> None:
    _, report, told = measured
    assert [(one.num_passages, one.kind, one.build.factory) for one in report.results] == [
        (SIZE, "flat", "Flat"),
        (SIZE, "hnsw", "HNSW32"),
    ]
    for one in report.results:
        assert [change.name for change in one.changes] == ["add 20", "delete 1", "delete 20"]
        assert all(change.seen and min(change.seconds) > 0 for change in one.changes)
        added, deleted, _ = one.changes
        # The new vectors at least; and a deletion writes none.
        assert added.median_bytes > 20 * DIM * 4
        assert 0 < deleted.median_bytes < SIZE * DIM * 4
        assert [search.num_units for search in one.searches] == [1, 64]
        assert [len(search.ours_s) for search in one.searches] == [5, 2]
        assert len(one.corpus_search_s) == 5
        assert one.opening.median_s > 0
        assert one.bare_opening.median_s > 0
        assert one.mapped_opening.median_s > 0
        # What was added is a shard of its own, and what was removed stands in the first.
        assert (one.changed.num_shards, one.changed.num_dead) == (2, 21)
        assert [(search.num_units, len(search.ours_s)) for search in one.changed.searches] == [(1, 5), (64, 2)]
        assert one.build.vector_bytes > SIZE * (DIM * 4 + 8)
    flat, hnsw = report.results
    assert flat.build.num_bytes == 0 < hnsw.build.num_bytes
    assert any("hnsw: building bare HNSW32" in line for line in told)
    assert json.loads(json.dumps(report.to_json()))["facts"]["dim"] == DIM


def test_recall_is_that_of_a_count_by_brute_force(measured) -> None:
    folder, report, _ = measured
    rows, queries = clustered_vectors(SIZE, DIM), clustered_queries(PLAN.num_queries, SIZE, DIM)
    truth = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    for one in report.results:
        catalogue = Catalogue(folder / one.kind)
        index = open_vectors(catalogue, TEXTS, CONFIG.index.model_copy(update={"kind": one.kind}))
        # The keys of a new corpus count from 0 in the order of its passages.
        _, found = index.search(queries, 10)
        catalogue.close()
        hits = sum(len(set(mine) & set(true)) for mine, true in zip(found.tolist(), truth.tolist(), strict=True))
        assert one.recall == pytest.approx(hits / (10 * PLAN.num_queries))
    flat, hnsw = report.results
    assert (flat.recall, flat.bare_recall, flat.build.recall) == (1, 1, 1)
    assert hnsw.build.effort > 0
    assert abs(hnsw.recall - hnsw.bare_recall) < 0.05  # built alike, and searched with the same effort


def test_what_lies_there_from_an_earlier_run_is_used(measured) -> None:
    folder, report, _ = measured
    told: list[str] = []
    again = Scale(folder.parent, CONFIG, PLAN, SIZE, told.append)
    assert [again.built(kind) for kind in PLAN.kinds] == [one.build for one in report.results]
    assert not told
    # The corpora are as they were: changes were made to copies.
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["documents", "flat", "hnsw"]


def test_what_was_made_with_other_settings_is_made_anew(tmp_path: Path) -> None:
    told: list[str] = []

    def built(settings) -> Build:
        return Scale(tmp_path, parse_config(settings), PLAN, SIZE, told.append).built("hnsw")

    first = built({"index": {"min_vectors": 100}})
    documents = tmp_path / f"{SIZE}-{DIM}d-seed0" / "documents.json"
    seconds = documents.read_text()
    told.clear()
    assert built({"index": {"min_vectors": 100, "recall_target": 0.8}}).documents_s == first.documents_s
    assert "hnsw: made anew, as what lies there was made with another: index" in told[0]
    assert documents.read_text() == seconds  # they know nothing of the index
    told.clear()
    built({"index": {"min_vectors": 100, "recall_target": 0.8}, "lexical": {"k1": 1.2}})
    assert [line.rpartition(": ")[2] for line in told[:2]] == ["lexical", "lexical"]
    assert json.loads(documents.read_text())["made_with"]["lexical"]["k1"] == 1.2
    # As an older ragkit left it.
    documents.write_text('{"seconds": 1.0}')
    assert Scale(tmp_path, CONFIG, PLAN, SIZE, told.append).built("flat").documents_s != 1.0


def test_a_fresh_process_tells_what_opening_cost_it(measured) -> None:
    found = probe(Probe("bare", str(measured[0] / "hnsw.faiss"), {}, DIM, 0, SIZE, 1))
    assert found.seconds > 0


def test_a_process_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.faiss"):
        probe(Probe("bare", str(tmp_path / "x.faiss"), {}, DIM, 0, SIZE, 1))


def test_a_wrong_scale_is_refused() -> None:
    done = CliRunner().invoke(eval_app, ["speed", "--scale", "ten"])
    assert done.exit_code == 2
    assert "--scale" in done.output


@pytest.mark.parametrize(
    ("options", "named", "told"),
    [
        ("--kind flat", "--kind", "counts only with --scale"),
        ("--dim 16", "--dim", "counts only with --scale"),
        ("--pages --queries 10", "--queries", "counts only with --scale"),
        ("--seed 1", "--seed", "counts only with --scale"),
        ("--scale 1000 --texts 10", "--texts", "counts only without --scale, --pages, --training"),
        ("--pages --passages 10", "--passages", "counts only without --scale, --pages, --training"),
        ("--scale 1000 --num-pages 100", "--num-pages", "counts only with --pages"),
        (
            "--pages --repeats 2",
            "--repeats",
            "counts only without --scale, --pages, --training or with --scale or with --training",
        ),
        ("--scale 1000 --pages", "--scale and --pages", "one thing is timed at a time"),
        ("--training --texts 5", "--texts", "counts only without --scale, --pages, --training"),
        ("--training --data x", "--data", "or with --pages or with --scale"),
        ("--scale 1000 --repeats 10", "--repeats", "10 repetitions remove 1,010 passages"),
    ],
)
def test_options_that_would_not_count_are_refused(options: str, named: str, told: str) -> None:
    done = CliRunner().invoke(eval_app, ["speed", *options.split()], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 2
    assert f"Invalid value for {named}:" in done.output
    assert told in done.output
