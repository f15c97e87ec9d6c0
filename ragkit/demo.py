"""`ragkit demo`: the bundled documents indexed, and three questions answered from them."""

# ruff: noqa: T201

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import RagkitError
from ragkit.extras import require
from ragkit.indexers.models.model_files import is_cached
from ragkit.progress import index_progress
from ragkit.terminal import print_answer, print_report

SAMPLES = Path(__file__).parent / "samples"
_NUM_QUESTIONS = 3
_PAGE_EMBEDDERS = ("openbmb/VisRAG-Ret", "Qwen/Qwen3-VL-Embedding-2B")


def run_demo() -> None:
    """Index, ask, and check that each answer cites the page it should.

    Raises:
        RagkitError: a document failed, or an answer does not cite the expected page.
    """
    questions = json.loads((SAMPLES / "questions.json").read_text("utf-8"))[:_NUM_QUESTIONS]
    config = _config()
    with tempfile.TemporaryDirectory() as folder, Corpus.open(Path(folder) / "demo", config=config) as corpus:
        print(f"Indexing the bundled documents in {SAMPLES / 'documents'}")
        print(_route(config))
        with index_progress() as progress:
            report = corpus.add(SAMPLES / "documents", progress=progress)
        print_report(report)
        if report.failed:
            raise RagkitError(f"{len(report.failed)} bundled documents could not be indexed")
        for number, question in enumerate(questions, 1):
            _ask(corpus, number, question)
    print("\nNow your own documents: ragkit index FOLDER --corpus my-corpus, then ragkit ask")


def page_embedder_at_hand() -> str:
    """A vision embedder that this machine can run within a demo: it has a GPU and the weights; "" without one."""
    if not require("torch").cuda.is_available():
        return ""
    return next((name for name in _PAGE_EMBEDDERS if is_cached(name)), "")


def _config() -> Config:
    name = page_embedder_at_hand()
    return parse_config({"pages": {"embed": "both"}, "page_embedder": {"name": name}}) if name else Config()


def _route(config: Config) -> str:
    if config.page_embedder.name:
        return f"Pages are searched by their text and, with {config.page_embedder.name}, as pictures."
    return (
        "Pages are searched by their text, scans after OCR. To search them as pictures too, a GPU and one of "
        f"{', '.join(_PAGE_EMBEDDERS)} in the hub's cache are needed."
    )


def _ask(corpus: Corpus, number: int, question: dict[str, str | int]) -> None:
    print(f"\nQuestion {number}: {question['question']}")
    answer = corpus.ask(str(question["question"]))
    print_answer(answer)
    expected = (question["document"], question["page"])
    cited = [(citation.document, citation.page) for citation in answer.citations]
    if expected not in cited:
        raise RagkitError(f"the answer should cite {expected[0]}, page {expected[1]}, but cites {cited}")
