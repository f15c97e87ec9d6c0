"""Memory of an indexing run over page pictures does not grow with the number of pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pdf_maker import PdfPage, make_pdf

_INDEX = """
import resource, sys
from ragkit import Corpus
from tests.fakes import ThumbnailEmbedder
config = {"pages": {"embed": "image", "dpi": 150, "keep_pages": False, "render_processes": 1}}
with Corpus.open(sys.argv[1], config=config, page_embedder=ThumbnailEmbedder(batch_pages=8)) as corpus:
    report = corpus.add(sys.argv[2])
assert report.num_passages == int(sys.argv[3]), report
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print(resource.getrusage(who).ru_maxrss / 1024)
"""


def peak_mb(folder: Path, num_pages: int) -> tuple[float, float]:
    """Peak resident memory of the indexing process and of the largest one that draws, in MB."""
    pages = [PdfPage(f"Page {i}", drawing=b"%d 0 9 792 re f" % (i % 600)) for i in range(num_pages)]
    document = make_pdf(folder / f"{num_pages}.pdf", pages)
    command = [sys.executable, "-c", _INDEX, str(folder / f"c{num_pages}"), str(document), str(num_pages)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    own, children = map(float, done.stdout.split())
    return own, children


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_thousand_pages_take_no_more_memory_than_three_hundred(tmp_path: Path):
    few, many = peak_mb(tmp_path, 300), peak_mb(tmp_path, 3000)
    print(f"peak MB of (indexing, drawing): 300 pages {few}, 3000 pages {many}")  # noqa: T201
    assert many[0] - few[0] < 300
    assert many[1] - few[1] < 300
