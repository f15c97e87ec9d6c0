"""`ragkit eval tradeoff` over small collections, from documents to table and plot."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit import assemble
from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.speed.tradeoff import TradeoffPlan, Variant, VariantResult
from ragkit.eval.speed.tradeoff_report import TradeoffReport
from ragkit.evaluations.speed import tradeoff
from ragkit.evaluations.speed.tradeoff import measure_tradeoff
from ragkit.indexers.models.token_pooling import pool_tokens
from ragkit.records import FloatArray, Passage
from tests.fakes import HashEmbedder, RowTokenEmbedder, ThumbnailEmbedder
from tests.indexers.models.tiny_vision import make_clip, make_colqwen2
from tests.pdf_maker import PdfPage, make_pdf
from tests.warm_python import WarmPython

WORDS = "tide lock weir dam canal boat reed heron mill sluice pond rope barge crane buoy".split()
DENSE = parse_config({"lexical": {"language": "none"}, "retrieval": {"method": "dense"}})
NUM_TEXTS, DIM = 300, 64
INK = {"left": b"0 0 306 792 re f", "top": b"0 396 612 396 re f", "bottom": b"0 0 612 396 re f"}


def write_collection(folder: Path) -> Path:
    """300 texts of three words and a number, and twelve queries that name two of the words."""
    (folder / "qrels").mkdir(parents=True)
    drawn = np.random.default_rng(0)
    texts = [f"{' '.join(drawn.choice(WORDS, 3))} {number}" for number in range(NUM_TEXTS)]
    rows = [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = {f"q{number}": " ".join(texts[number * 9].split()[:2]) for number in range(12)}
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": id_, "text": text}) for id_, text in queries.items())
    )
    judged = [f"{id_}\td{int(id_[1:]) * 9}\t1" for id_ in queries]
    (folder / "qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_collection(tmp_path / "tiny")


def measure(data: Path, out: Path, *kinds: str, config: Config = DENSE) -> TradeoffReport:
    return measure_tradeoff(data, config, TradeoffPlan(kinds), out, embedder=HashEmbedder(DIM))


def test_bytes_are_those_of_the_vectors_and_of_the_index_that_was_built(data: Path, tmp_path: Path):
    report = measure(data, tmp_path / "run", "flat", "ivf-sq8", "hnsw")
    flat, codes, graph = (summary.result for summary in report.summaries)
    assert {(one.num_passages, one.num_pages) for one in (flat, codes, graph)} == {(NUM_TEXTS, NUM_TEXTS)}
    # Rows of float32 and keys of int64, with two headers of .npy files.
    assert {one.vector_bytes for one in (flat, codes, graph)} == {NUM_TEXTS * (4 * DIM + 8) + 2 * 128}
    assert (flat.factory, flat.index_bytes, flat.recall) == ("exact", 0, 1.0)
    assert codes.factory == "IVF7,SQ8"
    assert graph.factory == "HNSW32"
    # A code of a byte a dimension and a number of 8 bytes for each vector, and the centroids.
    least = NUM_TEXTS * (DIM + 8) + 7 * DIM * 4
    assert least < codes.index_bytes < least + 4096
    assert report.summaries[1].bytes_per_passage == (codes.vector_bytes + codes.index_bytes) / NUM_TEXTS
    assert all(summary.p95_ms >= summary.p50_ms > 0 for summary in report.summaries)
    assert not (tmp_path / "run/corpora").exists()


def test_quality_is_that_of_exact_search_by_hand(data: Path, tmp_path: Path):
    report = measure(data, tmp_path / "run", "flat", "ivf-flat")
    texts = [json.loads(line)["text"] for line in (data / "corpus.jsonl").read_text().splitlines()]
    queries = {
        row["_id"]: row["text"] for row in map(json.loads, (data / "queries.jsonl").read_text().splitlines())
    }
    embedder = HashEmbedder(DIM)
    scores = embedder.embed_queries(list(queries.values())) @ embedder.embed_queries(texts).T
    run = {
        id_: {f"d{number}": float(row[number]) for number in np.argsort(-row)[:100]}
        for id_, row in zip(queries, scores, strict=True)
    }
    qrels = {id_: {f"d{int(id_[1:]) * 9}": 1} for id_ in queries}
    expected = score_run(qrels, run, ["nDCG@10"]).by_query["nDCG@10"]
    # Where another text is as good as the judged one, rounding decides.
    judged = {id_: int(id_[1:]) * 9 for id_ in queries}
    clear = [
        id_ for id_, row in zip(queries, scores, strict=True) if (np.abs(row - row[judged[id_]]) < 1e-6).sum() == 1
    ]
    assert len(clear) > 5
    for id_ in clear:
        assert report.summaries[0].result.by_query[id_] == pytest.approx(expected[id_])
    assert 0.1 < report.summaries[0].ndcg < 1
    assert report.summaries[0].change == 0


def test_a_kind_that_is_too_large_for_so_few_vectors_is_named(tmp_path: Path):
    data = write_collection(tmp_path / "tiny")
    lines = (data / "corpus.jsonl").read_text().splitlines()[:120]
    (data / "corpus.jsonl").write_text("\n".join(lines))
    report = measure(data, tmp_path / "run", "flat", "ivf-pq")
    assert report.summaries[1].result.factory == "exact"
    assert any("ivf-pq was searched exactly: 120 vectors" in note for note in report.notes)


def test_finished_variants_are_not_built_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = measure(data, tmp_path / "run", "flat", "hnsw")

    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(tradeoff._Sweep, "_built", refuse)
    assert measure(data, tmp_path / "run", "flat", "hnsw").to_json() == first.to_json()


def test_another_plan_is_refused_with_what_differs(data: Path, tmp_path: Path):
    measure(data, tmp_path / "run", "flat")
    with pytest.raises(DataError, match=r'data\.kinds: \["flat"\] there, \["flat", "hnsw"\] now'):
        measure(data, tmp_path / "run", "flat", "hnsw")
    with pytest.raises(DataError, match=r"config\.index\.recall_target: 0\.95 there, 0\.9 now"):
        measure(
            data,
            tmp_path / "run",
            "flat",
            config=parse_config(
                {
                    "lexical": {"language": "none"},
                    "retrieval": {"method": "dense"},
                    "index": {"recall_target": 0.9},
                }
            ),
        )
    (data / "qrels/test.tsv").write_text((data / "qrels/test.tsv").read_text().replace("d9\t1", "d10\t1"))
    with pytest.raises(DataError, match=r"data\.queries: "):
        measure(data, tmp_path / "run", "flat")


KILLED = """
import os, signal, sys
from pathlib import Path
from ragkit.corpus import Corpus
from tests.evaluations.speed.test_tradeoff import measure
compact, left = Corpus.compact, [int(sys.argv[2])]
def dying(self, *given):
    done = compact(self, *given)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Corpus.compact = dying
folder = Path(sys.argv[1])
measure(folder / "tiny", folder / "run", "flat", "hnsw", "ivf-flat")
"""


def test_a_killed_sweep_goes_on_where_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_python: WarmPython
):
    done = warm_python.run(["-c", KILLED, str(tmp_path), "2"])
    assert done.returncode == -signal.SIGKILL
    before = (tmp_path / "run/finished.jsonl").read_text()
    assert [json.loads(line)["query"] for line in before.splitlines()] == ["flat"]
    built: list[str] = []
    compact = Corpus.compact
    monkeypatch.setattr(Corpus, "compact", lambda self: built.append(self.config.index.kind) or compact(self))
    report = measure(data, tmp_path / "run", "flat", "hnsw", "ivf-flat")
    assert built == ["hnsw", "ivf-flat"]
    assert (tmp_path / "run/finished.jsonl").read_text().startswith(before)
    assert [summary.result.variant for summary in report.summaries] == [
        Variant("flat"),
        Variant("hnsw"),
        Variant("ivf-flat"),
    ]


@pytest.mark.parametrize(
    ("tables", "plan", "problem"),
    [
        ({"retrieval": {"method": "bm25"}}, TradeoffPlan(("flat",)), "searches no vectors"),
        ({}, TradeoffPlan(("flat",), ("int8",)), "late_interaction.name is none"),
        ({}, TradeoffPlan(("flat",), (), (2,)), "late_interaction.name is none"),
        ({}, TradeoffPlan(("flat", "tree")), "index.kind = 'tree' is none of auto"),
    ],
)
def test_what_cannot_be_swept_is_refused(data: Path, tmp_path: Path, tables, plan: TradeoffPlan, problem: str):
    with pytest.raises(ConfigError, match=problem):
        measure_tradeoff(data, parse_config(tables), plan, tmp_path / "run", embedder=HashEmbedder(DIM))


class PooledRows(RowTokenEmbedder):
    """Pools as the real models do."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor, self.fingerprint = factor, f"rows pooled by {factor}"

    def embed_passage_tokens(self, passages: Sequence[Passage]) -> list[FloatArray]:
        return [pool_tokens(rows, self.factor) for rows in super().embed_passage_tokens(passages)]


def write_pages(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "pdfs").mkdir()
    ink = {place: PdfPage(drawing=drawing) for place, drawing in INK.items()}
    make_pdf(folder / "pdfs/one.pdf", [ink["left"], ink["top"]])
    make_pdf(folder / "pdfs/two.pdf", [ink["bottom"]])
    pages = ["one#p1", "one#p2", "two#p1"]
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": page, "text": page}) for page in pages))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "left"}))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tone#p1\t1\n")
    return folder


def sweep_tokens(folder: Path, page_model: str, token_model: str) -> list[VariantResult]:
    config = parse_config(
        {
            "documents": {"ocr": "never"},
            "embedder": {"name": "none"},
            "pages": {"embed": "image", "dpi": 36, "render_processes": 1},
            "page_embedder": {"name": page_model, "device": "cpu"},
            "late_interaction": {"name": token_model, "device": "cpu"},
        }
    )
    plan = TradeoffPlan(("flat",), ("float16", "int8"), (1, 3))
    report = measure_tradeoff(write_pages(folder / "pages"), config, plan, folder / "run")
    results = [summary.result for summary in report.summaries]
    assert [(one.variant.token_dtype, one.variant.pool_factor, one.num_pages) for one in results] == [
        ("float16", 1, 3),
        ("float16", 3, 3),
        ("int8", 1, 3),
        ("int8", 3, 3),
    ]
    return results


def test_token_vectors_of_pages_are_swept_by_type_and_pooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assemble, "make_page_embedder", lambda _: ThumbnailEmbedder())
    monkeypatch.setattr(
        assemble, "make_token_embedder", lambda config: PooledRows(config.late_interaction.pool_factor)
    )
    results = sweep_tokens(tmp_path, "thumbnails", "rows")
    # Three pages of 8 rows of 8 numbers, or of one, for rows of a page are alike here; int8 has a float32 a row.
    small = 3 * 8 + 4 * 8 + 2 * 128
    assert [one.token_bytes - small for one in results] == [
        128 + 3 * 8 * 8 * 2,
        128 + 3 * 8 * 2,
        256 + 3 * 8 * (8 + 4),
        256 + 3 * (8 + 4),
    ]
    assert results[0].by_query == {"q": 1.0}


@pytest.mark.slow
def test_token_vectors_of_a_real_architecture(tmp_path: Path):
    results = sweep_tokens(tmp_path, str(make_clip(tmp_path / "clip")), str(make_colqwen2(tmp_path / "colqwen2")))
    whole, pooled, coded, both = (one.token_bytes for one in results)
    assert pooled < whole / 2
    assert both < coded < whole


def test_the_command_prints_a_table_and_draws(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assemble, "make_embedder", lambda _: HashEmbedder(DIM))
    config, plot = tmp_path / "settings.toml", tmp_path / "plot.svg"
    config.write_text('[lexical]\nlanguage = "none"\n')
    arguments = ["eval", "tradeoff", "--data", str(data), "--out", str(tmp_path / "run"), "--config", str(config)]
    done = CliRunner().invoke(app, [*arguments, "--kind", "flat,ivf-flat", "--json", "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [variant["name"] for variant in told["variants"]] == ["flat", "ivf-flat"]
    assert plot.read_text().startswith("<svg")
    manifest = (tmp_path / "run" / "manifest.json").read_bytes()
    again = CliRunner().invoke(app, [*arguments, "--kind", "flat,ivf-flat"])
    assert (tmp_path / "run" / "manifest.json").read_bytes() == manifest
    assert "IVF7,Flat" in again.stdout
    refused = CliRunner().invoke(app, [*arguments, "--kind", "flat", "--dtype", "int4"])
    assert isinstance(refused.exception, ConfigError)
