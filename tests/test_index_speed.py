"""`ragkit eval speed --scale`, over a real corpus of a few hundred documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit.cli_eval import eval_app
from ragkit.config import parse_config
from ragkit.errors import DataError
from ragkit.eval.clustered_vectors import clustered_queries, clustered_vectors
from ragkit.eval.index_speed import IndexSpeedPlan, IndexSpeedReport
from ragkit.index_probe import Probe, probe
from ragkit.index_speed import Scale, measure_index_speed
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.vectors.vector_indexes import open_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS

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
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IndexSpeedReport, list[str]]:
    folder, told = tmp_path_factory.mktemp("scale"), []
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


def test_a_process_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.faiss"):
        probe(Probe("bare", str(tmp_path / "x.faiss"), {}, DIM, 0, SIZE, 1))


def test_a_wrong_scale_is_refused() -> None:
    done = CliRunner().invoke(eval_app, ["speed", "--scale", "ten"])
    assert done.exit_code == 2
    assert "--scale" in done.output
