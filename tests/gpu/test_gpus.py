"""Vectors on real GPUs: searched, built, deleted and filtered as on the CPU. make gpu-check runs these."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from ragkit.errors import ConfigError
from ragkit.indexers.vectors.gpu_index import GpuShardIndex, on_gpus
from ragkit.indexers.vectors.gpus import Gpus, find_gpus
from ragkit.indexers.vectors.index_kinds import factory_of
from ragkit.indexers.vectors.shard_index import Effort, ShardIndex, as_shard_index, build_index, exact_index
from ragkit.indexers.vectors.vector_indexes import index_facts, open_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS
from tests.indexers.vectors.vector_corpus import clustered, config_for, make_corpus, run_in_threads

KINDS = ("flat", "ivf-flat", "ivf-sq8", "ivf-pq")
COUNT = 20_000

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0,
        reason="no GPU / faiss without GPU support",
    ),
]


@pytest.fixture(scope="module")
def gpus() -> Gpus:
    found = find_gpus("cuda")
    assert found is not None
    return found


def pair(kind: str, vectors: np.ndarray, gpus: Gpus) -> tuple[ShardIndex, GpuShardIndex]:
    if kind == "flat":
        cpu = exact_index(vectors)
    else:
        cpu = as_shard_index(build_index(vectors, factory_of(kind, *vectors.shape)), vectors)
    return cpu, on_gpus(cpu, gpus, kind)


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """Mean share of what is to be found that is found."""
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return float(np.mean([len(set(mine) & set(others)) / len(others) for mine, others in pairs]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_queries", [1, 700])
def test_a_search_finds_what_the_cpu_finds(gpus: Gpus, kind: str, num_queries: int):
    cpu, gpu = pair(kind, clustered(COUNT), gpus)
    queries = clustered(num_queries, seed=1)
    effort = Effort(min(16, cpu.max_effort), 8 if cpu.is_lossy else 0)
    for k in (1, 10, 200):
        scores, rows = gpu.nearest(queries, k, effort)
        true_scores, true_rows = cpu.nearest(queries, k, effort)
        # Candidates that are refined are found by scores of the codes, which the two add up in other orders.
        assert overlap(rows, true_rows) > (0.99 if cpu.is_lossy else 0.999)
        same = rows == true_rows
        np.testing.assert_allclose(scores[same], true_scores[same], atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_a_gpu_selects_is_found_on_the_cpu(gpus: Gpus, kind: str):
    cpu, gpu = pair(kind, clustered(5000), gpus)
    queries = clustered(4, seed=2)
    factor = 2 if cpu.is_lossy else 0
    for k in (2048 // max(1, factor), 2049, 5000):
        effort = Effort(cpu.max_effort, factor)
        np.testing.assert_allclose(
            gpu.nearest(queries, k, effort)[0], cpu.nearest(queries, k, effort)[0], atol=2e-3 if factor else 2e-6
        )


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-sq8", "ivf-pq"])
def test_what_is_built_on_gpus_is_searched_on_the_cpu(tmp_path: Path, gpus: Gpus, kind: str):
    catalogue, vectors = make_corpus(tmp_path, config_for(kind, "cuda"), COUNT)
    (facts,) = index_facts(catalogue, TEXTS).values()
    assert facts.recall >= 0.95
    queries = clustered(200, seed=3)
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    for device in ("cpu", "cuda"):
        scores, found = open_vectors(catalogue, TEXTS, config_for(kind, device)).search(queries, 10)
        assert (
            np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), true.tolist(), strict=True)]) > 0.93
        )
        np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, found, axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_deletes_and_filters_hold(tmp_path: Path, gpus: Gpus, kind: str):
    catalogue, vectors = make_corpus(tmp_path, config_for(kind), 12_000, 6000, 300)
    with catalogue.transaction():
        catalogue.remove_document("1")
    cpu = open_vectors(catalogue, TEXTS, config_for(kind))
    gpu = open_vectors(catalogue, TEXTS, config_for(kind, "cuda"))
    queries = np.ascontiguousarray(vectors[12_000:12_100])
    for k in (1, 10, 500):
        _, found = gpu.search(queries, k)
        _, true = cpu.search(queries, k)
        assert (found >= 0).all()
        assert not ((found >= 12_000) & (found < 18_000)).any()
        assert (
            np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), true.tolist(), strict=True)]) > 0.98
        )
    among = np.arange(8000, 18_300, 7)
    np.testing.assert_array_equal(gpu.search(queries, 20, among)[1], cpu.search(queries, 20, among)[1])


def test_many_threads_search_at_once(gpus: Gpus):
    cpu, gpu = pair("flat", clustered(COUNT), gpus)
    queries = clustered(64, seed=4)
    _, true = cpu.nearest(queries, 10, Effort(0, 0))
    shares = run_in_threads(8, lambda i: (gpu.nearest(queries, 10, Effort(0, 0))[1] == true).mean())
    assert min(shares) > 0.999


def test_many_copies_come_and_go(gpus: Gpus):
    vectors, queries = clustered(COUNT), clustered(8, seed=5)
    _, true = exact_index(vectors).nearest(queries, 10, Effort(0, 0))

    def run(i: int) -> bool:
        found = [
            on_gpus(exact_index(vectors), gpus, "flat").nearest(queries, 10, Effort(0, 0))[1] for _ in range(10)
        ]
        return all((rows == true).mean() > 0.99 for rows in found)

    assert all(run_in_threads(4, run))


@pytest.mark.parametrize(("dim", "parts"), [(384, 48), (768, 96), (1536, 96), (96, 1)])
def test_codes_of_all_lengths_are_searched(gpus: Gpus, dim: int, parts: int):
    vectors = np.random.default_rng(0).standard_normal((3000, dim)).astype(np.float32)
    index = build_index(vectors, f"IVF4,PQ{parts}np", gpus)
    cpu = as_shard_index(index, vectors)
    effort = Effort(4, 16)
    _, found = on_gpus(cpu, gpus, "codes").nearest(vectors[:50], 5, effort)
    _, true = cpu.nearest(vectors[:50], 5, effort)
    assert (found[:, 0] == true[:, 0]).mean() > 0.95


def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"with GPU support and sees \d+ GPUs"):
        find_gpus("cuda:99")
