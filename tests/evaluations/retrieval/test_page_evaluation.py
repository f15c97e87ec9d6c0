"""`ragkit eval retrieval` over a tiny page-level collection, from PDFs to figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import parse_config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.eval.sets.page_sets import PageScope, read_page_set
from ragkit.eval.sets.trec import read_run
from ragkit.evaluations.retrieval.page_evaluation import evaluate_pages, needs_page_set, page_corpus, source_of
from tests.pdf_maker import make_pdf

CONFIG = {
    "documents": {"ocr": "never"},
    "embedder": {"name": "none"},
    "lexical": {"language": "none"},
    "retrieval": {"method": "bm25"},
}
# "harbour" stands on both documents; the second page of "beta" has it twice.
PAGES = {
    "alpha": ["red crane harbour", "blue barge", "green rope"],
    "beta": ["yellow buoy", "harbour harbour pilot"],
}
QUERIES = {
    "q1": ("harbour", "alpha", "alpha#p1"),
    "q2": ("rope", "alpha", "alpha#p3"),
    "q3": ("buoy", "beta", "beta#p1"),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    (folder / "pdfs").mkdir()
    for document, texts in PAGES.items():
        make_pdf(folder / "pdfs" / f"{document}.pdf", texts)
    rows = [
        {"_id": f"{document}#p{number}", "title": "", "text": text}
        for document, texts in PAGES.items()
        for number, text in enumerate(texts, 1)
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = [{"_id": id_, "text": q, "metadata": {"doc": doc}} for id_, (q, doc, _) in QUERIES.items()]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = "".join(f"{id_}\t{page}\t1\n" for id_, (_, _, page) in QUERIES.items())
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


@pytest.mark.parametrize("documents", ["corpus", "pdfs"])
def test_pages_are_ranked_over_all_documents_or_within_the_own_one(data: Path, documents):
    config = parse_config(CONFIG)
    everywhere = evaluate_pages(data, config, PageScope(documents), measures=["RR@10"])
    assert list(everywhere.run["q1"]) == ["beta#p2", "alpha#p1"]
    assert everywhere.by_query["RR@10"] == {"q1": 0.5, "q2": 1.0, "q3": 1.0}
    within = evaluate_pages(data, config, PageScope(documents, within="doc"), measures=["RR@10"])
    assert list(within.run["q1"]) == ["alpha#p1"]
    assert within.by_query["RR@10"] == {"q1": 1.0, "q2": 1.0, "q3": 1.0}
    assert list(within.run) == ["q1", "q2", "q3"]


def test_the_scope_is_said_and_shorter_documents_make_their_own_corpus(data: Path):
    report = evaluate_pages(data, parse_config(CONFIG), PageScope("pdfs", max_pages=2))
    assert report.to_json()["scope"] == {
        "indexed": "pdfs",
        "ranked_within": "all",
        "documents": 1,
        "pages": 2,
        "judged_pages": 1,
        "queries_about_other_documents_left_out": 2,
    }
    assert report.num_queries == 1
    assert list(report.run) == ["q3"]


def test_the_command_restricts_and_writes_page_ids(data: Path, tmp_path: Path):
    config, names = tmp_path / "bm25.toml", tmp_path / "names.txt"
    config.write_text('[documents]\nocr = "never"\n[embedder]\nname = "none"\n[lexical]\nlanguage = "none"\n')
    names.write_text("alpha\n")
    arguments = [
        "eval",
        "retrieval",
        "--data",
        str(data),
        "--config",
        str(config),
        "--documents",
        "pdfs",
        "--json",
    ]
    chosen = ["--within", "doc", "--documents-from", str(names), "--measure", "Success@5"]
    done = CliRunner().invoke(app, [*arguments, *chosen, "--run-out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["measures"] == {"Success@5": 1.0}
    assert printed["queries"] == 2
    assert read_run(tmp_path / "run").keys() == {"q1", "q2"}
    assert list(read_run(tmp_path / "run")["q2"]) == ["alpha#p3"]


def test_a_killed_run_goes_on_where_it_was(data: Path):
    config, page_set = parse_config(CONFIG), read_page_set(data)
    folder = page_corpus(page_set, "pdfs", config)
    with Corpus.open(folder, config=config) as corpus:
        corpus.add(page_set.files()[:1])
        before = corpus.search("harbour", level="page")[0].passage.key
    report = evaluate_pages(data, config, PageScope("pdfs"))
    assert report.measures["R@100"] == 1.0
    with Corpus.open(folder, config=config, create=False) as corpus:
        assert [document.id for document in corpus.documents()] == ["alpha.pdf", "beta.pdf"]
        assert before in [hit.passage.key for hit in corpus.search("harbour", level="page")]


def test_what_else_a_given_corpus_holds_is_not_searched(data: Path, tmp_path: Path):
    config = parse_config(CONFIG)
    with Corpus.open(tmp_path / "mine", config=config) as corpus:
        corpus.add(make_pdf(tmp_path / "gamma.pdf", ["harbour harbour harbour"]))
    report = evaluate_pages(data, config, folder=tmp_path / "mine")
    assert set(report.run["q1"]) == {"beta#p2", "alpha#p1"}


def test_a_document_that_cannot_be_read_is_an_error(data: Path):
    (data / "pdfs" / "beta.pdf").write_bytes(b"%PDF-1.4 broken")
    with pytest.raises(DataError, match=r"1 documents cannot be indexed: .*beta\.pdf"):
        evaluate_pages(data, parse_config(CONFIG), PageScope("pdfs"))


@pytest.mark.parametrize(
    ("tables", "documents", "expected"),
    [
        ({}, "auto", "corpus"),
        ({}, "pdfs", "pdfs"),
        ({"documents": {"ocr": "always"}}, "auto", "pdfs"),
        ({"pages": {"embed": "image"}}, "auto", "pdfs"),
        ({"pages": {"embed": "both"}}, "auto", "pdfs"),
        ({"page_embedder": {"name": "some/model"}}, "auto", "pdfs"),
        ({"pages": {"embed": "text"}, "page_embedder": {"name": "some/model"}}, "auto", "corpus"),
    ],
)
def test_settings_that_read_pictures_ask_for_the_pdfs(tables, documents, expected):
    config = parse_config(tables)
    assert source_of(PageScope(documents), config) == expected
    assert needs_page_set(PageScope(documents), config) == (expected == "pdfs")


def test_pictures_of_texts_are_refused():
    with pytest.raises(ConfigError, match="--documents pdfs"):
        source_of(PageScope("corpus"), parse_config({"documents": {"ocr": "always"}}))


def test_any_other_scope_needs_pages():
    config = parse_config({})
    assert not needs_page_set(PageScope(), config)
    assert not needs_page_set(PageScope("corpus"), config)
    assert needs_page_set(PageScope("corpus", within="doc"), config)
    assert needs_page_set(PageScope(max_pages=80), config)
