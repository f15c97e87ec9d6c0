"""`ragkit demo`: the bundled documents indexed, and three questions answered from them."""

# ruff: noqa: T201

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ragkit.corpus import Corpus
from ragkit.errors import RagkitError
from ragkit.progress import index_progress
from ragkit.terminal import print_answer, print_report

SAMPLES = Path(__file__).parent / "samples"
_NUM_QUESTIONS = 3


def run_demo() -> None:
    """Index, ask, and check that each answer cites the page it should.

    Raises:
        RagkitError: a document failed, or an answer does not cite the expected page.
    """
    questions = json.loads((SAMPLES / "questions.json").read_text("utf-8"))[:_NUM_QUESTIONS]
    with tempfile.TemporaryDirectory() as folder, Corpus.open(Path(folder) / "demo") as corpus:
        print(f"Indexing the bundled documents in {SAMPLES / 'documents'}")
        with index_progress() as progress:
            report = corpus.add(SAMPLES / "documents", progress=progress)
        print_report(report)
        if report.failed:
            raise RagkitError(f"{len(report.failed)} bundled documents could not be indexed")
        for number, question in enumerate(questions, 1):
            _ask(corpus, number, question)
    print("\nNow your own documents: ragkit index FOLDER --corpus my-corpus, then ragkit ask")


def _ask(corpus: Corpus, number: int, question: dict[str, str | int]) -> None:
    print(f"\nQuestion {number}: {question['question']}")
    answer = corpus.ask(str(question["question"]))
    print_answer(answer)
    expected = (question["document"], question["page"])
    cited = [(citation.document, citation.page) for citation in answer.citations]
    if expected not in cited:
        raise RagkitError(f"the answer should cite {expected[0]}, page {expected[1]}, but cites {cited}")
