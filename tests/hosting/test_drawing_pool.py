"""Pages drawn in processes that may crash, hang or swell: that costs the page alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from ragkit.config import DocumentsConfig
from ragkit.errors import DocumentError
from ragkit.files import sha256_of
from ragkit.hosting.drawing_pool import WORKER, DrawingPool
from ragkit.hosting.drawing_process import DrawLimits
from ragkit.indexers.page_images import Drawing
from ragkit.indexers.readers.media_types import PDF, PNG
from tests.endless_pdf import ENDLESS, make_forms_pdf
from tests.pdf_maker import PdfPage, make_pdf
from tests.processes import children, has_ended, processor_s, wait_until

DRAWING = Drawing(DocumentsConfig(), 72)
ROOMY = DrawLimits(60, 4000)
# A stand-in for the worker: pages up to 9 are drawn, as one pixel of their number; the others do it harm.
STAND_IN = """
import json, os, signal, sys, time
print('{"ready": true}', flush=True)
for line in sys.stdin:
    page = json.loads(line)["page"]
    if page < 10:
        sys.stdout.buffer.write(b'{"width": 1, "height": 1}\\n' + bytes([page] * 3))
        sys.stdout.buffer.flush()
    elif page == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    elif page == 11:
        sys.exit(3)
    elif page == 12:
        time.sleep(1000)
    elif page == 13:
        print("Segmentation fault", flush=True)
    elif page == 14:
        print('{"width": 20000, "height": 20000}', flush=True)
    elif page == 15:
        sys.stdout.buffer.write(b'{"width": 1000, "height": 1000}\\n' + bytes(5000))
        sys.stdout.buffer.flush()
        os.abort()
    elif page == 16:
        swollen = bytearray(os.urandom(1)) * 300_000_000
        print('{"problem": "no such page"}', flush=True)
"""


def ask(pool: DrawingPool, path: Path, page: int = 1, media_type: str = PDF) -> Image.Image:
    return pool.draw(DRAWING, path, media_type, sha256_of(path), page)


@contextmanager
def stand_in(limits: DrawLimits = ROOMY, idle_s: float = 60) -> Iterator[Callable[[int], int]]:
    """Asks a pool of stand-ins for a page; what it says is drawn there."""
    with DrawingPool(limits, (sys.executable, "-c", STAND_IN), idle_s) as pool:

        def draw(page: int) -> int:
            picture = pool.draw(DRAWING, Path("any.pdf"), PDF, "", page)
            pixel = picture.getpixel((0, 0))
            assert isinstance(pixel, tuple)
            return int(pixel[0])

        yield draw


def drawing_now() -> list[int]:
    return children("ragkit.hosting.drawing_worker", os.getpid()) + children("no such page", os.getpid())


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    assert drawing_now() == []


def test_pages_are_equal_in_every_pixel_and_drawn_by_one_process(tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "é \udcff.pdf", ["The crane.", PdfPage("green", b"0 1 0 rg 9 9 99 99 re f")])
    png = tmp_path / "a.png"
    Image.effect_noise((70, 50), 80).convert("RGB").save(png)
    with DrawingPool(ROOMY) as pool:
        for path, page, media_type in ((pdf, 1, PDF), (pdf, 2, PDF), (png, 1, PNG)):
            drawn, expected = ask(pool, path, page, media_type), DRAWING.draw(path, media_type, page)
            assert (drawn.mode, drawn.size) == ("RGB", expected.size)
            assert drawn.tobytes() == expected.tobytes()
        assert len(drawing_now()) == 1


def test_what_cannot_be_drawn_is_said_as_in_this_process_and_ends_nothing(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["one page"])
    locked = make_pdf(tmp_path / "locked.pdf", ["secret"], password="open")
    with DrawingPool(ROOMY) as pool:
        ask(pool, path)
        first = drawing_now()
        for file, hash_, page in (
            (path, sha256_of(path), 7),
            (path, "another", 1),
            (locked, sha256_of(locked), 1),
        ):
            with pytest.raises(DocumentError) as here:
                DRAWING.draw_again(file, PDF, hash_, page)
            with pytest.raises(DocumentError) as there:
                pool.draw(DRAWING, file, PDF, hash_, page)
            assert str(there.value) == str(here.value)
        assert drawing_now() == first


def test_a_page_without_end_is_ended_and_the_next_is_drawn(tmp_path: Path) -> None:
    endless, small = make_forms_pdf(tmp_path / "e.pdf", ENDLESS), make_forms_pdf(tmp_path / "s.pdf", 2)
    with DrawingPool(DrawLimits(1, 0)) as pool:
        with pytest.raises(DocumentError, match=r"^drawing page 1 took more than 1 s .*draw_timeout_s"):
            ask(pool, endless)
        assert drawing_now() == []
    with DrawingPool(DrawLimits(60, 60)) as pool:
        with pytest.raises(
            DocumentError, match=r"^drawing page 1 took more than 60 MB of memory .*draw_memory_mb"
        ):
            ask(pool, endless)
        assert ask(pool, small).size == (200, 100)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (10, r"^the process that draws page 10 crashed on it \(SIGKILL\)$"),
        (11, r"crashed on it \(status 3\)$"),
        (12, r"^drawing page 12 took more than 0.5 s"),
        (13, r"sent what is no message$"),
        (14, r"sent what is no message$"),
        (15, r"crashed on it \(SIGABRT\)$"),
    ],
)
def test_a_process_that_fails_costs_its_page_alone(page: int, reason: str) -> None:
    with stand_in(DrawLimits(0.5, 0)) as draw:
        assert draw(1) == 1
        (first,) = drawing_now()
        with pytest.raises(DocumentError, match=reason):
            draw(page)
        assert draw(2) == 2
        assert first not in drawing_now()


def test_a_process_that_dies_between_pages_costs_none() -> None:
    with stand_in() as draw:
        draw(1)
        (first,) = drawing_now()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: has_ended(first))
        assert draw(2) == 2


def test_a_process_that_keeps_much_is_not_used_again() -> None:
    with stand_in(DrawLimits(60, 500)) as draw:
        with pytest.raises(DocumentError, match="no such page"):
            draw(16)
        assert drawing_now() == []
        assert draw(2) == 2


def test_a_process_that_does_not_start_is_said() -> None:
    command = (sys.executable, "-c", "raise SystemExit(4)")
    with DrawingPool(ROOMY, command) as pool, pytest.raises(DocumentError, match=r"did not start \(status 4\)"):
        pool.draw(DRAWING, Path("any.pdf"), PDF, "", 1)


def test_a_page_that_hangs_leaves_room_for_another_and_two_of_them_are_waited_for() -> None:
    with stand_in(DrawLimits(1.5, 0)) as draw, ThreadPoolExecutor(2) as threads:
        hanging = [threads.submit(draw, 12)]
        wait_until(lambda: len(drawing_now()) == 1)
        assert [draw(page) for page in (1, 2, 3)] == [1, 2, 3]
        assert not hanging[0].done()
        hanging.append(threads.submit(draw, 12))
        assert draw(4) == 4
        for one in hanging:
            with pytest.raises(DocumentError, match="took more than"):
                one.result()


def test_threads_get_the_pages_that_they_asked_for() -> None:
    pages = [page % 10 for page in range(200)]
    with stand_in() as draw, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(draw, pages)) == pages
        assert 1 <= len(drawing_now()) <= 2


def test_idle_processes_are_ended() -> None:
    with stand_in(idle_s=0.3) as draw:
        assert draw(1) == 1
        wait_until(lambda: drawing_now() == [])
        assert draw(2) == 2


def test_closing_ends_those_that_draw() -> None:
    failures: list[str] = []

    def hang() -> None:
        try:
            pool.draw(DRAWING, Path("any.pdf"), PDF, "", 12)
        except DocumentError as error:
            failures.append(str(error))

    pool = DrawingPool(ROOMY, (sys.executable, "-c", STAND_IN))
    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(drawing_now)
    pool.close()
    thread.join(10)
    assert len(failures) == 1
    with pytest.raises(DocumentError, match="the server is ending"):
        pool.draw(DRAWING, Path("any.pdf"), PDF, "", 1)


def test_a_worker_ends_in_the_middle_of_a_page_when_its_owner_is_killed(tmp_path: Path) -> None:
    endless = make_forms_pdf(tmp_path / "endless.pdf", ENDLESS)
    code = f"""
import sys
from pathlib import Path
from tests.hosting.test_drawing_pool import ask, DrawingPool, ROOMY
ask(DrawingPool(ROOMY), Path({str(endless)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        wait_until(lambda: children(WORKER[-1], owner.pid))
        (worker,) = children(WORKER[-1], owner.pid)
        assert os.getpgid(worker) == worker, "Ctrl-C on a terminal would reach it"
        wait_until(lambda: processor_s(worker) > 1)
        owner.kill()
        owner.wait()
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
