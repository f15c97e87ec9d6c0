"""`ragkit eval retrieval` over ViDoRe's layouts, with a random vision model and with OCR."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError, DataError
from ragkit.eval.sets.trec import read_run
from ragkit.evaluations.retrieval.mteb_search import RagkitSearch
from ragkit.evaluations.retrieval.visual_evaluation import evaluate_visual
from ragkit.indexers.models.page_embedders import make_page_embedder
from ragkit.records import PageImage, Passage
from tests.indexers.models.tiny_vision import make_siglip

QUERIES = {"0": "a dark page", "1": "bright noise"}


def picture(seed: int) -> bytes:
    squares = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(squares).resize((48, 64), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(seed) for seed in range(5)]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def write_vidore(folder: Path) -> Path:
    name = "test-00000-of-00001.parquet"
    images = [{"bytes": content, "path": "x.png"} for content in PICTURES]
    write(folder / "corpus" / name, [{"corpus-id": i, "image": image} for i, image in enumerate(images)])
    write(folder / "queries" / name, [{"query-id": int(id_), "query": text} for id_, text in QUERIES.items()])
    write(folder / "qrels" / name, [{"query-id": i, "corpus-id": i + 2, "score": 1} for i in range(2)])
    return folder


def write_plain(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for number, content in enumerate(PICTURES):
        (folder / f"{number}.png").write_bytes(content)
    corpus = [json.dumps({"_id": str(number), "image": f"{number}.png"}) for number in range(len(PICTURES))]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    queries = [json.dumps({"_id": id_, "text": text}) for id_, text in QUERIES.items()]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n0\t2\t1\n1\t3\t1\n")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_siglip(tmp_path_factory.mktemp("siglip"))


def settings(model: Path) -> Config:
    tables = {"pages": {"embed": "image"}, "page_embedder": {"name": str(model), "device": "cpu"}}
    return parse_config({**tables, "retrieval": {"method": "dense", "level": "page"}})


def by_the_model_alone(model: Path) -> dict[str, list[str]]:
    embedder = make_page_embedder(settings(model).page_embedder)
    passages = []
    for number, content in enumerate(PICTURES):
        shown = Image.open(io.BytesIO(content)).convert("RGB")
        image = PageImage("x", number + 1, 48, 64, lambda shown=shown: shown)
        passages.append(Passage(-1, "x", number + 1, 0, 0, "", image=image))
    scores = embedder.embed_queries(list(QUERIES.values())) @ embedder.embed_passages(passages).T
    return {query: [str(i) for i in np.argsort(-row)] for query, row in zip(QUERIES, scores, strict=True)}


def test_every_layout_ranks_pictures_as_the_model_does(model: Path, tmp_path: Path):
    expected = by_the_model_alone(model)
    report = evaluate_visual(write_vidore(tmp_path / "vidore"), settings(model), measures=["RR"])
    assert {query: list(scores) for query, scores in report.run.items()} == expected
    ranks = {query: 1 + expected[query].index(str(int(query) + 2)) for query in QUERIES}
    assert report.by_query["RR"] == {query: pytest.approx(1 / rank) for query, rank in ranks.items()}
    assert report.scope == {"indexed": "pictures", "pictures": 5}
    plain = evaluate_visual(write_plain(tmp_path / "plain"), settings(model), measures=["RR"])
    assert plain.run == report.run


def test_the_command_runs_and_keeps_a_run(model: Path, tmp_path: Path):
    config = tmp_path / "pages.toml"
    config.write_text(
        f'[pages]\nembed = "image"\n[page_embedder]\nname = "{model}"\ndevice = "cpu"\n'
        '[retrieval]\nmethod = "dense"\nlevel = "page"\n'
    )
    data = write_vidore(tmp_path / "vidore")
    arguments = ["eval", "retrieval", "--data", str(data), "--config", str(config), "--json"]
    for _ in range(2):
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run")])
        assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["queries"] == 2
    assert {query: list(row) for query, row in read_run(tmp_path / "run" / "run.trec").items()} == (
        by_the_model_alone(model)
    )
    for more in (["--within", "doc"], ["--corpus", str(tmp_path / "c")], ["--topics", str(config)]):
        with pytest.raises(ConfigError, match=r"as a whole|own queries"):
            CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)


def test_mteb_hands_over_pictures(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    # mteb makes the folder of its cache when it is imported.
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "mteb"))
    from datasets import Dataset
    from datasets import Image as ImageColumn

    rows = [{"id": f"p{number}", "image": {"bytes": content}} for number, content in enumerate(PICTURES)]
    corpus = Dataset.from_list(rows).cast_column("image", ImageColumn())
    queries = Dataset.from_list([{"id": query, "text": text} for query, text in QUERIES.items()])
    task = SimpleNamespace(name="Pictures", dataset={"revision": "1"})
    expected = {query: [f"p{i}" for i in ranked] for query, ranked in by_the_model_alone(model).items()}
    for _ in range(2):
        with RagkitSearch(settings(model)) as search:
            assert search.mteb_model_meta.modalities == ["text", "image"]
            search.index(corpus, task_metadata=task)
            found = search.search(queries, top_k=10)
        assert {query: list(scores) for query, scores in found.items()} == expected


@pytest.mark.slow
def test_pictures_are_read_by_ocr_for_terms(tmp_path: Path):
    import pypdfium2

    from tests.pdf_maker import make_pdf

    folder = tmp_path / "scans"
    texts = ["HARBOUR PILOT", "YELLOW BUOY"]
    document = pypdfium2.PdfDocument(make_pdf(tmp_path / "x.pdf", texts))
    for number in range(2):
        folder.mkdir(exist_ok=True)
        document[number].render(scale=2).to_pil().save(folder / f"{number}.png")
    document.close()
    corpus = [json.dumps({"_id": f"scan{number}", "image": f"{number}.png"}) for number in range(2)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "buoy"}')
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("q\tscan1\t1\n")
    tables = {"embedder": {"name": "none"}, "pages": {"embed": "text"}, "retrieval": {"method": "bm25"}}
    report = evaluate_visual(folder, parse_config(tables), measures=["Success@1"])
    assert list(report.run["q"]) == ["scan1"]
    with pytest.raises(ConfigError, match="reads nothing of a picture"):
        evaluate_visual(folder, parse_config({**tables, "documents": {"ocr": "never"}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a picture", r"the picture '1' is of no kind that is known, expected jpeg, png, tiff, webp"),
        (b"%PDF-1.4 x", r"the picture '1' is application/pdf, expected jpeg"),
        (PICTURES[1][:60], r"1 pictures cannot be indexed: .*truncated|cannot be read"),
    ],
    ids=["text", "pdf", "truncated"],
)
def test_what_is_no_picture_is_named(model: Path, tmp_path: Path, content: bytes, message: str):
    data = write_plain(tmp_path / "plain")
    (data / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        evaluate_visual(data, settings(model))
