from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from ragkit.hosting.index_worker import Mailbox, _PageTeller, _without_paths
from ragkit.indexers.index_report import IndexProgress


def told(*steps: IndexProgress) -> list[dict[str, Any]]:
    """What the server hears of them."""
    out = io.StringIO()
    teller = _PageTeller(Mailbox(io.StringIO(), out), 7)
    for step in steps:
        teller(step)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def step(stage: str, pages: int, embedded: int = 0, pending: int = 0, read: int = 0) -> IndexProgress:
    return IndexProgress(stage, "a.pdf", 0, 1, pages, embedded, pending, read, 75)


def test_progress_goes_on_when_all_pages_are_read() -> None:
    heard = told(
        step("read", 0, read=74),
        step("read", 0, read=75),
        step("embed", 75, 0, 200, read=75),
        step("embed", 75, 32, 168, read=75),
        step("embed", 75, 200, 0, read=75),
        step("index", 75, 200, read=75),
    )
    assert [tuple(one.values())[1:] for one in heard[:-1]] == [
        ("reading", 74, 75, 0, 0),
        ("reading", 75, 75, 0, 0),
        ("embedding", 75, 75, 0, 200),
        ("embedding", 75, 75, 32, 200),
        ("embedding", 75, 75, 200, 200),
        ("writing", 75, 75, 0, 0),
    ]
    assert heard[-1] == {"job": 7, "committed": True}


def test_pictures_of_pages_are_counted_as_passages() -> None:
    heard = told(step("read", 0, read=75), step("embed", 8, read=75), step("embed", 16, read=75))
    assert [(one["passages_done"], one["passages"]) for one in heard] == [(0, 0), (8, 75), (16, 75)]


def test_what_stands_still_is_told_once() -> None:
    assert len(told(step("read", 0, read=3), step("read", 0, read=3))) == 1


def test_reasons_name_no_file_of_the_server() -> None:
    file, folder = Path("/srv/shelf/files/ab/file-1"), Path("/srv/shelf")
    told = (
        f"{file} is odd: no picture in {folder}/pictures; the model cannot read it ('/opt/models/vlm/config.json')"
    )
    shown = "the file is odd: no picture in …/pictures; the model cannot read it ('…')"
    assert _without_paths(told, file, folder) == shown
    plain = "page 3/4: there is no item named 'xl/sharedStrings.xml' in the archive"
    assert _without_paths(plain, file, folder) == plain
