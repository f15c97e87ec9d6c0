"""How results look to a person: plain text on stdout. The JSON forms stand beside what they describe."""

# ruff: noqa: T201

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from ragkit.corpus_info import CorpusInfo
from ragkit.indexers.index_report import IndexReport
from ragkit.indexers.readers.find_files import Problem
from ragkit.records import Answer, Hit, Passage
from ragkit.serve.api import wire


def print_report(report: IndexReport) -> None:
    """Counts first, then everything that did not go as it should."""
    pages_per_s = report.num_pages / report.seconds if report.seconds else 0.0
    counts = (("added", report.added), ("changed", report.changed), ("unchanged", report.unchanged))
    print(", ".join(f"{len(ids)} {word}" for word, ids in counts) + f", {len(report.removed)} removed")
    print(
        f"{report.num_pages} pages, {report.num_passages} passages "
        f"in {report.seconds:.1f} s ({pages_per_s:.1f} pages/s)"
    )
    if report.reattributed:
        print(f"attributes changed of {len(report.reattributed)} unchanged documents")
    _print_problems("skipped, of no supported kind", report.skipped)
    _print_problems("warnings", report.warnings)
    _print_problems("FAILED", report.failed)
    if report.interrupted:
        print("interrupted: what is listed is indexed; the same command goes on from here")


def report_json(report: IndexReport) -> dict[str, object]:
    """The report as `ragkit index --json` prints it."""
    return asdict(report)


def print_hits(hits: Sequence[Hit]) -> None:
    """Rank, score, place, and the beginning of the text."""
    for rank, hit in enumerate(hits, 1):
        print(f"{rank:>3}  {hit.score:.4f}  {hit.passage.document}, page {hit.passage.page}")
        print(f"     {_shown(hit.passage)}")


def hits_json(query: str, hits: Sequence[Hit]) -> dict[str, object]:
    """The hits as `ragkit search --json` prints them."""
    return {"query": query, "hits": wire.hits_json(hits)}


def print_answer(answer: Answer) -> None:
    """The answer, then what each mark stands for, then what else should be known."""
    print("\n\n".join(filter(None, (answer.text, answer.refusal))))
    shown: set[tuple[int, str]] = set()
    for citation in answer.citations:
        if (citation.marker, citation.quote) not in shown:
            shown.add((citation.marker, citation.quote))
            quote = f": “{_shortened(citation.quote, 200)}”" if citation.quote else ""
            print(f"  [{citation.marker}] {citation.document}, page {citation.page}{quote}")
    for note in answer.notes:
        print(f"  note: {note}")


def print_info(info: CorpusInfo) -> None:
    """One fact a line."""
    for name, value in asdict(info).items():
        if name not in ("indexes", "searched_exactly"):
            print(f"{name}: {json.dumps(value) if isinstance(value, dict) else value}")
    for path, facts in info.indexes.items():
        met = "" if facts.recall >= facts.recall_target else f", BELOW the {facts.recall_target} asked for"
        print(f"index {path}: {facts.factory} over {facts.num_vectors:,} vectors, because {facts.why};")
        print(f"  recall@10 {facts.recall} over {facts.num_queries} queries ({facts.queries}){met}")
    for reason in info.searched_exactly:
        print(f"searched exactly: {reason}")


def _print_problems(heading: str, problems: Sequence[Problem]) -> None:
    if problems:
        print(f"{heading} ({len(problems)}):")
        for problem in problems:
            print(f"  {problem.path}: {problem.reason}")


def _shown(passage: Passage) -> str:
    if passage.image is None:
        return _shortened(passage.text, 160)
    return f"page picture {passage.image.path}".rstrip()


def _shortened(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
