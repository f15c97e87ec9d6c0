"""Vectors on GPUs, with a stand-in for FAISS's GPU functions; on real ones: tests/gpu."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from ragkit.config import IndexConfig
from ragkit.errors import ConfigError
from ragkit.indexers.vectors.gpu_index import on_gpus
from ragkit.indexers.vectors.gpus import Gpus, find_gpus, refusal
from ragkit.indexers.vectors.index_kinds import choose_index, factory_of
from ragkit.indexers.vectors.shard_index import Effort, ShardIndex, as_shard_index, build_index, exact_index
from ragkit.indexers.vectors.vector_indexes import index_facts, open_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS
from tests.indexers.vectors.stand_in_gpus import StandInGpus, stand_in_gpus
from tests.indexers.vectors.vector_corpus import (
    DIM,
    add,
    clustered,
    config_for,
    make_corpus,
    run_in_threads,
    update,
)

KINDS = ("flat", "ivf-flat", "ivf-sq8", "ivf-pq")
COUNT = 2500


@pytest.fixture(params=[1, 2])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInGpus]:
    with stand_in_gpus(monkeypatch, request.param) as stand_in:
        yield stand_in


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInGpus]:
    with stand_in_gpus(monkeypatch, 2) as stand_in:
        yield stand_in


def all_gpus() -> Gpus:
    gpus = find_gpus("cuda")
    assert gpus is not None
    return gpus


def shard_index(kind: str, vectors: np.ndarray) -> ShardIndex:
    if kind == "flat":
        return exact_index(vectors)
    return as_shard_index(build_index(vectors, factory_of(kind, len(vectors), DIM)), vectors)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_on_gpus_finds_what_the_cpu_finds(gpus: StandInGpus, kind: str):
    vectors, queries = clustered(COUNT), clustered(50, seed=1)
    cpu = shard_index(kind, vectors)
    gpu = on_gpus(cpu, all_gpus(), kind)
    assert gpus.copies[0][1] == tuple(range(gpus.count))
    effort = Effort(min(8, cpu.max_effort), 4 if cpu.is_lossy else 0)
    for k in (1, 10, 100):
        scores, rows = gpu.nearest(queries, k, effort)
        true_scores, true_rows = cpu.nearest(queries, k, effort)
        np.testing.assert_allclose(scores, true_scores, atol=1e-6)
        assert (rows == true_rows).mean() > 0.999
    assert (gpu.exact, gpu.parameter, gpu.max_effort) == (cpu.exact, cpu.parameter, cpu.max_effort)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_what_is_built_on_gpus_is_an_index_of_the_cpu(tmp_path: Path, gpus: StandInGpus, kind: str, device: str):
    catalogue, vectors = make_corpus(tmp_path, config_for(kind, "cuda"), COUNT)
    facts = list(index_facts(catalogue, TEXTS).values())
    assert [known.factory for known in facts] == ([] if kind == "flat" else [factory_of(kind, COUNT, DIM)])
    assert all(known.recall >= 0.95 for known in facts)
    # Training happens on the first GPU alone.
    assert [numbers for _, numbers, _ in gpus.copies[:1]] == ([] if kind == "flat" else [(0,)])
    queries = clustered(100, seed=7)
    _, found = open_vectors(catalogue, TEXTS, config_for(kind, device)).search(queries, 10)
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), true.tolist(), strict=True)]) > 0.93


@pytest.mark.parametrize("kind", KINDS)
def test_deletes_and_filters_hold_on_gpus(tmp_path: Path, gpus: StandInGpus, kind: str):
    catalogue, vectors = make_corpus(tmp_path, config_for(kind), 1600, 800, 300)
    with catalogue.transaction():
        catalogue.remove_document("1")
    cpu = open_vectors(catalogue, TEXTS, config_for(kind))
    gpu = open_vectors(catalogue, TEXTS, config_for(kind, "cuda"))
    assert len(gpu) == len(cpu) == 1900
    # Each query is the vector of a dead passage.
    queries = np.ascontiguousarray(vectors[1600:1640])
    for k in (1, 10, 300):
        for found, true in zip(gpu.search(queries, k), cpu.search(queries, k), strict=True):
            np.testing.assert_allclose(found, true, atol=1e-6)
    among = np.arange(1200, 2500, 3)
    _, found = gpu.search(queries, 20, among)
    assert (found >= 0).all()
    assert np.isin(found, among).all()
    assert not ((found >= 1600) & (found < 2400)).any()
    np.testing.assert_array_equal(found, cpu.search(queries, 20, among)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_gpu_cannot_select_is_searched_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_gpus: StandInGpus, kind: str
):
    vectors, queries = clustered(COUNT), clustered(5, seed=1)
    cpu = shard_index(kind, vectors)
    gpu = on_gpus(cpu, all_gpus(), kind)
    asked: list[int] = []
    nearest = ShardIndex.nearest

    def watched(index: ShardIndex, queries: np.ndarray, k: int, effort: Effort, selector: object = None) -> object:
        asked.extend([k] if index is cpu else [])
        return nearest(index, queries, k, effort, selector)

    monkeypatch.setattr(ShardIndex, "nearest", watched)
    factor = 8 if cpu.is_lossy else 0
    most = 2048 // max(1, factor)
    for k, lists in ((most, 4), (most + 1, 4), (10, 2048), (10, 2049), (COUNT, 4)):
        scores, rows = gpu.nearest(queries, k, Effort(lists if gpu.parameter else 0, factor))
        assert scores.shape == rows.shape == (5, k)
    assert asked == [most + 1, *([10] if gpu.parameter else []), COUNT]
    # A whole corpus asked for: every row comes, by way of the CPU.
    catalogue, vectors = make_corpus(tmp_path / "corpus", config_for(kind), 2300)
    _, found = open_vectors(catalogue, TEXTS, config_for(kind, "cuda")).search(queries, 2300)
    assert (np.sort(found, axis=1) == np.arange(2300)).all()


def test_searches_take_turns_and_end_as_the_cpu_says(two_gpus: StandInGpus):
    vectors, queries = clustered(COUNT), clustered(64, seed=2)
    gpu = on_gpus(exact_index(vectors), all_gpus(), "flat")
    _, true = exact_index(vectors).nearest(queries, 10, Effort(0, 0))

    def run(i: int) -> bool:
        found = [gpu.nearest(queries[j::8], 10, Effort(0, 0))[1] for j in range(8)]
        return all((rows == true[j::8]).all() for j, rows in enumerate(found))

    assert all(run_in_threads(6, run))
    assert len(two_gpus.searches) == 48


def test_a_shard_is_copied_once_and_freed_with_its_last_state(tmp_path: Path, two_gpus: StandInGpus):
    config = config_for("ivf-flat", "cuda")
    catalogue, _ = make_corpus(tmp_path, config, COUNT)
    del two_gpus.copies[:], two_gpus.frees_locked[:]
    states = [open_vectors(catalogue, TEXTS, config)]
    assert len(two_gpus.copies) == 1
    add(catalogue, "more", clustered(50, seed=3))
    update(catalogue, config)
    states.append(open_vectors(catalogue, TEXTS, config))
    assert [name for name, _, _ in two_gpus.copies] == ["IndexIVFFlat", "IndexFlatIP"]
    # Fifty rows are not cut in two.
    assert [numbers for _, numbers, _ in two_gpus.copies] == [(0, 1), (0,)]
    del states[0]
    gc.collect()
    assert two_gpus.frees_locked == []
    states.clear()
    gc.collect()
    assert two_gpus.frees_locked == [True, True]
    open_vectors(catalogue, TEXTS, config)
    assert len(two_gpus.copies) == 4


@pytest.mark.parametrize("kind", ["flat", "ivf-pq"])
def test_vectors_of_another_corpus_in_the_same_place_are_not_taken_for_the_old(
    tmp_path: Path, two_gpus: StandInGpus, kind: str
):
    config = config_for(kind, "cuda")
    catalogue, _ = make_corpus(tmp_path / "corpus", config, 1000)
    first = open_vectors(catalogue, TEXTS, config)
    (tmp_path / "corpus").rename(tmp_path / "elsewhere")
    folder = tmp_path / "corpus"
    other, _ = make_corpus(folder, config, 400)
    queries = clustered(10, seed=4)
    _, found = open_vectors(other, TEXTS, config).search(queries, 400)
    assert (np.sort(found, axis=1) == np.arange(400)).all()
    assert len(first) == 1000


@pytest.mark.parametrize("kind", ["hnsw", "ivf-rabitq", "PCA24,IVF20,Flat", "SQ8", "IVF20,PQ8x4fs", "IVF20,PQ8x4"])
def test_kinds_without_a_form_for_gpus_are_refused_with_those_that_have_one(two_gpus: StandInGpus, kind: str):
    with pytest.raises(ConfigError) as caught:
        choose_index(IndexConfig(kind=kind, device="cuda"), 10, DIM, 10)
    assert str(caught.value).startswith(f'index.kind = {kind!r} cannot be searched with index.device = "cuda": ')
    assert str(caught.value).endswith(
        'GPUs search flat, ivf-flat, ivf-sq8, ivf-pq and factory strings like "IVF4096,PQ48", '
        'and "auto" chooses among them'
    )


@pytest.mark.parametrize("kind", [*KINDS, "IVF20,PQ8", "IVF20,SQ4", "IVF20,SQfp16"])
def test_kinds_for_gpus_are_chosen_as_for_the_cpu(two_gpus: StandInGpus, kind: str):
    chosen = choose_index(IndexConfig(kind=kind, device="cuda"), 100_000, DIM, 100_000)
    assert chosen == choose_index(IndexConfig(kind=kind), 100_000, DIM, 100_000)


@pytest.mark.parametrize("dim", [1, 7, 24, 384, 768, 1000, 1024, 1536, 2304, 4096])
def test_ivf_pq_has_codes_for_gpus_in_every_dimension(dim: int):
    assert refusal(faiss.index_factory(dim, factory_of("ivf-pq", 50_000, dim), faiss.METRIC_INNER_PRODUCT)) == ""


def test_what_differs_from_codes_for_gpus_is_named():
    assert refusal(faiss.index_factory(60, "IVF20,PQ10", faiss.METRIC_INNER_PRODUCT)).startswith(
        "its codes are 10 numbers of 8 bits, not (1, 2, 3, 4, 8, "
    )
    found_by_graph = refusal(faiss.index_factory(DIM, "IVF20_HNSW16,Flat", faiss.METRIC_INNER_PRODUCT))
    assert found_by_graph == "its lists are found by something else than a flat quantizer"
    assert refusal(faiss.index_factory(DIM, "HNSW16")) == "IndexHNSWFlat has no form for GPUs"


def test_long_codes_are_given_tables_in_float16(two_gpus: StandInGpus):
    rng = np.random.default_rng(0)
    for dim, parts, wanted in ((96, 48, False), (112, 56, True)):
        vectors = rng.standard_normal((300, dim)).astype(np.float32)
        index = faiss.index_factory(dim, f"IVF1,PQ{parts}np", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
        index.pq.cp.niter = 1
        index.train(vectors)
        index.add(vectors)
        on_gpus(as_shard_index(index, vectors), all_gpus(), "codes")
        assert two_gpus.copies[-1][2].useFloat16 is wanted


def test_auto_searches_exactly_on_gpus_while_the_vectors_fit(two_gpus: StandInGpus):
    config = IndexConfig(device="cuda", memory_mb=1000)
    fits = choose_index(config, 600_000, 384, 650_000)
    assert (fits.factory, fits.why) == ("Flat", "650,000 vectors take 998 MB, within 1,000 MB of GPU memory")
    tight = choose_index(config, 600_000, 384, 700_000)
    assert tight.factory == factory_of("ivf-pq", 600_000, 384)
    assert tight.why == "700,000 vectors take 1,075 MB, more than 1,000 MB of GPU memory"


def test_auto_asks_torch_how_much_memory_the_gpus_have(two_gpus: StandInGpus, monkeypatch: pytest.MonkeyPatch):
    torch = pytest.importorskip("torch")

    class Properties:
        total_memory = 1_000_000_000

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: Properties)
    both = choose_index(IndexConfig(device="cuda"), 600_000, 384, 600_000)
    one = choose_index(IndexConfig(device="cuda:1"), 600_000, 384, 600_000)
    assert both.why == "600,000 vectors take 922 MB, within 1,000 MB of GPU memory"
    assert one.why == "600,000 vectors take 922 MB, more than 500 MB of GPU memory"


def test_a_corpus_that_was_indexed_for_a_cpu_is_searched_exactly_where_it_fits(
    tmp_path: Path, two_gpus: StandInGpus
):
    catalogue, vectors = make_corpus(tmp_path, config_for("hnsw"), 2000)
    queries = clustered(30, seed=5)
    _, found = open_vectors(catalogue, TEXTS, config_for("auto", "cuda", memory_mb=1)).search(queries, 10)
    assert (found == np.argsort(-(queries @ vectors.T), axis=1)[:, :10]).all()
    other, _ = make_corpus(tmp_path / "other", config_for("SQ8"), 8000)
    with pytest.raises(ConfigError, match=r'index.faiss \(SQ8\) cannot be searched with index.device = "cuda"'):
        open_vectors(other, TEXTS, config_for("auto", "cuda", memory_mb=1))
    update(other, config_for("auto", "cuda", memory_mb=1))
    (facts,) = index_facts(other, TEXTS).values()
    assert facts.factory == factory_of("ivf-pq", 8000, DIM)
    assert len(open_vectors(other, TEXTS, config_for("auto", "cuda", memory_mb=1))) == 8000


def test_vectors_that_do_not_fit_are_said_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with stand_in_gpus(monkeypatch, 1, free_bytes=1000 * DIM * 4):
        catalogue, _ = make_corpus(tmp_path, config_for("flat"), 1001)
        with pytest.raises(ConfigError, match=r"alloc fail .*set index.kind = \"ivf-pq\" and run ragkit compact"):
            open_vectors(catalogue, TEXTS, config_for("flat", "cuda"))


def test_a_faiss_of_the_cpu_and_gpus_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_gpus: StandInGpus
):
    for device, numbers in (("cuda", (0, 1)), ("cuda:0", (0,)), ("cuda:1", (1,))):
        gpus = find_gpus(device)
        assert gpus is not None
        assert (gpus.numbers, len(gpus.resources)) == (numbers, len(numbers))
    assert find_gpus("cpu") is None
    with pytest.raises(ConfigError, match=r'index.device = "cuda:2": FAISS .* with GPU support and sees 2 GPUs'):
        find_gpus("cuda:2")
    catalogue, _ = make_corpus(tmp_path, config_for("flat"), 10)
    find_gpus.cache_clear()
    monkeypatch.delattr(faiss, "StandardGpuResources")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(ConfigError, match=r"without GPU support and sees 0 GPUs; pip install 'ragkit\[gpu\]'"):
        open_vectors(catalogue, TEXTS, config_for("flat", "cuda"))
