"""Corpora of page pictures: indexed without any text, resumed page by page, searched, and redrawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragkit import Corpus, TextRecord
from ragkit.errors import ConfigError, CorpusError, DocumentError
from ragkit.indexers import draw_pages
from ragkit.records import Box, FloatArray, Passage, TextLine
from tests.fakes import HashEmbedder, RowTokenEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf
from tests.warm_python import WarmPython

INK = {
    "left": b"0 0 306 792 re f",
    "right": b"306 0 306 792 re f",
    "top": b"0 396 612 396 re f",
    "bottom": b"0 0 612 396 re f",
}
PICTURES = {"pages": {"embed": "image", "dpi": 36}}


def page(place: str, text: str = "") -> PdfPage:
    return PdfPage(text=text, drawing=INK[place])


def write_documents(folder: Path) -> None:
    folder.mkdir()
    make_pdf(folder / "a.pdf", [page("left"), page("top"), page("right")])
    make_pdf(folder / "b.pdf", [page("bottom")])


def places(corpus: Corpus, query: str, k: int = 1) -> list[tuple[str, int]]:
    return [(hit.passage.document, hit.passage.page) for hit in corpus.search(query, k)]


def test_pages_are_found_by_their_pictures(tmp_path: Path):
    write_documents(tmp_path / "docs")
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        report = corpus.add(tmp_path / "docs")
        assert (report.added, report.failed, report.num_pages, report.num_passages) == (
            ["a.pdf", "b.pdf"],
            [],
            4,
            4,
        )
        for place, expected in (("left", ("a.pdf", 1)), ("top", ("a.pdf", 2)), ("bottom", ("b.pdf", 1))):
            assert places(corpus, place) == [expected]
        hit = corpus.search("right", 1)[0]
        assert (hit.passage.text, hit.passage.start, hit.passage.end) == ("", 0, 0)
        assert hit.passage.image is not None
        picture = hit.passage.image.load()
        assert picture.size == (hit.passage.image.width, hit.passage.image.height) == (306, 396)
        assert picture.getpixel((10, 200)) == (255, 255, 255)
        assert picture.getpixel((296, 200)) == (0, 0, 0)
        assert Path(hit.passage.image.path).is_relative_to(tmp_path / "c" / "pages")
        assert corpus.verify() == []
        again = corpus.add(tmp_path / "docs")
        assert (again.unchanged, again.num_pages) == (["a.pdf", "b.pdf"], 0)


def test_pictures_that_are_not_kept_are_drawn_anew(tmp_path: Path):
    write_documents(tmp_path / "docs")
    config = {"pages": {"embed": "image", "dpi": 36, "keep_pages": False}}
    with Corpus.open(tmp_path / "c", config=config, page_embedder=ThumbnailEmbedder()) as corpus:
        corpus.add(tmp_path / "docs")
        assert not (tmp_path / "c" / "pages").exists()
        image = corpus.search("left", 1)[0].passage.image
        assert image is not None
        assert (image.path, image.width, image.height) == ("", 306, 396)
        assert image.load().size == (306, 396)
        (tmp_path / "docs" / "a.pdf").unlink()
        with pytest.raises(DocumentError, match="is gone, so its page 1 cannot be drawn"):
            image.load()


def test_equal_pages_are_kept_once_and_removed_ones_are_swept(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left"), page("left")])
    make_pdf(tmp_path / "docs" / "b.pdf", [page("right")])
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        corpus.add(tmp_path / "docs")
        assert len(list((tmp_path / "c" / "pages").glob("*/*.jpg"))) == 2
        (tmp_path / "docs" / "b.pdf").unlink()
        corpus.add(tmp_path / "docs", prune=True)
        assert len(list((tmp_path / "c" / "pages").glob("*/*.jpg"))) == 1
        assert corpus.verify() == []
        next((tmp_path / "c" / "pages").glob("*/*.jpg")).write_bytes(b"other")
        assert ["was altered" in problem for problem in corpus.verify()] == [True]


class StopsAfter(ThumbnailEmbedder):
    """Ctrl-C comes with batch number `batches_left` + 1."""

    def __init__(self, batches_left: int) -> None:
        super().__init__(batch_pages=2)
        self.batches_left = batches_left

    def embed_passages(self, passages: list[Passage]) -> FloatArray:  # type: ignore[override]
        if self.batches_left == 0:
            raise KeyboardInterrupt
        self.batches_left -= 1
        return super().embed_passages(passages)


def test_an_interrupted_document_goes_on_at_its_next_page(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page(place) for place in [*INK, *INK]])
    first, second = StopsAfter(batches_left=3), ThumbnailEmbedder()
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=first) as corpus:
        report = corpus.add(tmp_path / "docs")
        assert (report.interrupted, report.added, corpus.documents()) == (True, [], [])
    with Corpus.open(tmp_path / "c", page_embedder=second) as corpus:
        assert corpus.add(tmp_path / "docs").added == ["a.pdf"]
        assert second.batches == [2]  # six of the eight were there
        assert sorted(places(corpus, "top", 2)) == [("a.pdf", 3), ("a.pdf", 7)]
        assert corpus.verify() == []
        assert not (tmp_path / "c" / "unfinished.sqlite").exists()


def test_remembered_pages_that_were_damaged_are_embedded_again(tmp_path: Path):
    write_documents(tmp_path / "docs")
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        (tmp_path / "c" / "unfinished.sqlite").write_bytes(b"no database at all, but long enough" * 99)
        assert corpus.add(tmp_path / "docs").added == ["a.pdf", "b.pdf"]


def test_one_bad_page_is_a_warning_and_a_bad_document_a_failure(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    whole = make_pdf(tmp_path / "docs" / "a.pdf", [page("left"), page("right")]).read_bytes()
    kids = whole.index(b"/Kids [") + len(b"/Kids [")
    second = whole.index(b"0 R", whole.index(b"0 R", kids) + 1) - 2
    broken = whole[:second] + b"3" + whole[second + 1 :]  # the font object in place of the second page
    (tmp_path / "docs" / "half.pdf").write_bytes(broken)
    (tmp_path / "docs" / "cut.pdf").write_bytes(whole[:90])
    (tmp_path / "docs" / "note.md").write_text("Nothing to draw.")
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        report = corpus.add(tmp_path / "docs")
        assert report.added == ["a.pdf", "half.pdf"]
        assert [Path(problem.path).name for problem in report.failed] == ["cut.pdf"]
        assert [problem.reason for problem in report.warnings] == ["page 2 cannot be drawn: the page is damaged"]
        assert [(Path(p.path).name, "has no pages to draw" in p.reason) for p in report.skipped] == [
            ("note.md", True)
        ]
        assert [hit.passage.page for hit in corpus.search("left", 9, documents=["half.pdf"])] == [1]


def test_a_page_that_crashes_its_process_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_documents(tmp_path / "docs")
    monkeypatch.setattr(draw_pages, "draw_page", _crashes_on_page_two)
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        report = corpus.add(tmp_path / "docs")
        assert report.added == ["a.pdf", "b.pdf"]
        reasons = [problem.reason for problem in report.warnings]
        assert reasons == ["page 2 cannot be drawn: the process that draws it crashed on it"]
        assert places(corpus, "right") == [("a.pdf", 3)]


def test_a_crash_far_ahead_of_a_slow_embedder_costs_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left")] + [page("top") for _ in range(29)])
    monkeypatch.setattr(draw_pages, "draw_page", _crashes_on_page_two)
    slow = SlowEmbedder(batch_pages=1)
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=slow) as corpus:
        report = corpus.add(tmp_path / "docs")
    assert [problem.reason for problem in report.warnings] == [
        "page 2 cannot be drawn: the process that draws it crashed on it"
    ]
    assert report.num_passages == 29


class SlowEmbedder(ThumbnailEmbedder):
    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        time.sleep(0.1)
        return super().embed_passages(passages)


def test_drawing_processes_end_when_their_parent_is_killed(tmp_path: Path, warm_python: WarmPython):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left") for _ in range(60)])
    code = """
import sys, time
from ragkit import Corpus
from tests.fakes import ThumbnailEmbedder
class Stuck(ThumbnailEmbedder):
    def embed_passages(self, passages):
        print("stuck", flush=True)
        time.sleep(600)
config = {"pages": {"embed": "image", "dpi": 150, "render_processes": 2}}
with Corpus.open(sys.argv[1], config=config, page_embedder=Stuck(batch_pages=2)) as corpus:
    corpus.add(sys.argv[2])
"""
    with warm_python.start(["-c", code, str(tmp_path / "c"), str(tmp_path / "docs")]) as process:
        assert process.stdout.readline() == "stuck\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if b"loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        time.sleep(1)  # for them to fill the pipe
        process.kill()
    assert len(workers) >= 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "drawing processes outlived their parent"
        time.sleep(0.2)


def test_a_page_the_model_fails_on_is_a_warning_and_a_model_that_always_fails_an_error(tmp_path: Path):
    write_documents(tmp_path / "docs")
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ChokesOn({2})) as corpus:
        report = corpus.add(tmp_path / "docs")
        assert (report.added, report.num_passages) == (["a.pdf", "b.pdf"], 3)
        reasons = [problem.reason for problem in report.warnings]
        assert reasons == ["page 2 cannot be drawn: the model cannot read it (RuntimeError: too dark)"]
    with (
        Corpus.open(tmp_path / "d", config=PICTURES, page_embedder=ChokesOn({1, 2, 3})) as corpus,
        pytest.raises(RuntimeError, match="too dark"),
    ):
        corpus.add(tmp_path / "docs")


class ChokesOn(ThumbnailEmbedder):
    def __init__(self, pages: set[int]) -> None:
        super().__init__()
        self._pages = pages

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        if any(passage.page in self._pages for passage in passages):
            raise RuntimeError("too dark")
        return super().embed_passages(passages)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 8), np.float32), r"shape \(0, 8\), not \(n, 8\) with n > 0"),
        (np.zeros((3, 5), np.float32), r"shape \(3, 5\)"),
        (np.full((3, 8), np.nan, np.float32), "not finite"),
    ],
)
def test_token_vectors_are_checked_before_they_are_remembered(tmp_path: Path, rows: FloatArray, message: str):
    class Wrong(RowTokenEmbedder):
        def embed_passage_tokens(self, passages: Sequence[Passage]) -> list[FloatArray]:
            return [rows for _ in passages]

    write_documents(tmp_path / "docs")
    parts = {"page_embedder": ThumbnailEmbedder(), "config": PICTURES}
    with (
        Corpus.open(tmp_path / "c", token_embedder=Wrong(), **parts) as corpus,
        pytest.raises(ConfigError, match=message),
    ):
        corpus.add(tmp_path / "docs")
    with Corpus.open(tmp_path / "c", token_embedder=RowTokenEmbedder(), **parts) as corpus:
        assert corpus.add(tmp_path / "docs").added == ["a.pdf", "b.pdf"]


def test_unfinished_work_outlives_a_run_over_other_files(tmp_path: Path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    make_pdf(tmp_path / "first" / "a.pdf", [page(place) for place in [*INK, *INK]])
    make_pdf(tmp_path / "second" / "b.pdf", [page("left")])
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=StopsAfter(batches_left=3)) as corpus:
        corpus.add(tmp_path / "first")
    last = ThumbnailEmbedder()
    with Corpus.open(tmp_path / "c", page_embedder=last) as corpus:
        corpus.add(tmp_path / "second")
        corpus.remove("b.pdf")
        corpus.add(tmp_path / "first")
        assert last.batches == [1, 2]
        assert corpus.verify() == []
        assert not (tmp_path / "c" / "unfinished.sqlite").exists()


def test_a_page_tree_that_claims_too_much_is_given_up(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    whole = make_pdf(tmp_path / "docs" / "a.pdf", [page("left")]).read_bytes()
    (tmp_path / "docs" / "a.pdf").write_bytes(whole.replace(b"/Count 1", b"/Count 30000"))
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        report = corpus.add(tmp_path / "docs")
    assert (report.added, len(report.failed)) == ([], 1)
    assert "cannot be drawn" in report.failed[0].reason


def test_a_document_that_was_given_up_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left") for _ in range(200)])
    monkeypatch.setattr(draw_pages, "draw_page", _fails_up_to_page_hundred)
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        report = corpus.add(tmp_path / "docs")
    assert report.added == []
    assert report.failed[0].reason == "pages 1-100 cannot be drawn: smudged"


def _fails_up_to_page_hundred(task: draw_pages.DrawTask) -> draw_pages.DrawnPage:
    if task.page <= 100:
        return draw_pages.DrawnPage(task, None, problem="smudged")
    return draw_pages.draw_page(task)


def test_a_model_that_breaks_on_the_way_ends_the_run(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left") for _ in range(40)])
    broken = ChokesOn(set(range(9, 41)))
    with (
        Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=broken) as corpus,
        pytest.raises(RuntimeError, match="too dark"),
    ):
        corpus.add(tmp_path / "docs")


def test_long_pictures_and_frames(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    Image.new("RGB", (10, 40_000), "white").save(tmp_path / "docs" / "receipt.png")
    frames = [Image.new("L", (40 + i, 30), 255) for i in range(5)]
    frames[0].save(tmp_path / "docs" / "fax.tiff", save_all=True, append_images=frames[1:])
    for kind in ("jpeg", "webp"):
        config = {"pages": {"embed": "image", "format": kind}}
        with Corpus.open(tmp_path / kind, config=config, page_embedder=ThumbnailEmbedder()) as corpus:
            report = corpus.add(tmp_path / "docs")
            assert (sorted(report.added), report.warnings) == (["fax.tiff", "receipt.png"], [])
            widths = [corpus.store.page_image("fax.tiff", i).width for i in range(1, 6)]  # type: ignore[union-attr]
            assert widths == [40, 41, 42, 43, 44]
            image = corpus.store.page_image("receipt.png", 1)
            assert image is not None
            assert (image.width, image.height) == (4, 16_383)


def test_records_are_not_taken_into_a_corpus_of_pictures(tmp_path: Path):
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        report = corpus.add(TextRecord("r", "Rain."))
        assert (report.added, [problem.path for problem in report.skipped]) == ([], ["r"])


def test_removing_a_document_removes_its_pictures(tmp_path: Path):
    write_documents(tmp_path / "docs")
    with Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()) as corpus:
        corpus.add(tmp_path / "docs")
        corpus.remove(["a.pdf", "b.pdf"])
        assert list((tmp_path / "c" / "pages").glob("*/*")) == []


def test_a_document_that_changed_or_is_encrypted_is_not_drawn_anew(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left")])
    make_pdf(tmp_path / "docs" / "b.pdf", [page("right")], password="heron")
    config = {"pages": {"embed": "image", "dpi": 36, "keep_pages": False}}
    with Corpus.open(tmp_path / "c", config=config, page_embedder=ThumbnailEmbedder()) as corpus:
        assert corpus.add(tmp_path / "docs", password="heron").failed == []
        make_pdf(tmp_path / "docs" / "a.pdf", [page("top")])
        for name, reason in (("a.pdf", "changed since it was indexed"), ("b.pdf", "keeps no password")):
            image = corpus.store.page_image(name, 1)
            assert image is not None
            with pytest.raises(DocumentError, match=reason):
                image.load()


def test_settings_that_this_corpus_cannot_follow_are_refused(tmp_path: Path):
    Corpus.open(tmp_path / "texts", embedder=HashEmbedder()).close()
    for table in ("page_embedder", "late_interaction"):
        with pytest.raises(CorpusError, match=rf"without {table.replace('_', ' ')}, and the settings name 'x/y'"):
            Corpus.open(tmp_path / "texts", config={table: {"name": "x/y"}})
    parts = {"page_embedder": ThumbnailEmbedder(), "token_embedder": RowTokenEmbedder()}
    Corpus.open(tmp_path / "c", config=PICTURES, **parts).close()
    with pytest.raises(CorpusError, match=r"late_interaction.dtype = 'float16' and is opened with 'int8'"):
        Corpus.open(tmp_path / "c", config={"late_interaction": {"dtype": "int8"}}, **parts)


def _crashes_on_page_two(task: draw_pages.DrawTask) -> draw_pages.DrawnPage:
    import os

    if task.page == 2:
        os._exit(1)
    return draw_pages.draw_page(task)


def test_image_files_and_texts_beside_them(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    dark = Image.new("RGB", (80, 60), "white")
    dark.paste((0, 0, 0), (0, 0, 40, 60))
    dark.save(tmp_path / "docs" / "photo.png")
    (tmp_path / "docs" / "note.md").write_text("Lake Ohm is nine metres deep.")
    config = {"pages": {"embed": "both", "dpi": 36}, "documents": {"ocr": "never"}}
    with Corpus.open(
        tmp_path / "c", config=config, embedder=HashEmbedder(), page_embedder=ThumbnailEmbedder()
    ) as corpus:
        report = corpus.add([tmp_path / "docs", TextRecord("r", "A record of rain in Ohm.")])
        assert (sorted(report.added), report.failed) == (["note.md", "photo.png", "r"], [])
        assert places(corpus, "How deep is Lake Ohm?") == [("note.md", 1)]
        assert ("photo.png", 1) in places(corpus, "left", 3)
        assert corpus.store.page_image("note.md", 1) is None
        assert corpus.verify() == []


def test_both_gives_a_page_once_with_its_text(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [page("left", "Otters sleep."), page("right", "Herons wait.")])
    config = {"pages": {"embed": "both", "dpi": 36}}
    with Corpus.open(
        tmp_path / "c", config=config, embedder=HashEmbedder(), page_embedder=ThumbnailEmbedder()
    ) as corpus:
        corpus.add(tmp_path / "docs")
        assert corpus.info().num_passages == 4
        hits = corpus.search("left otters", 10)
        assert [(hit.passage.page, hit.passage.text) for hit in hits] == [
            (1, "Otters sleep."),
            (2, "Herons wait."),
        ]
        keys = {kind: corpus.store.keys(kind=kind) for kind in ("text", "image")}  # type: ignore[misc, arg-type]
        assert [len(found) for found in keys.values()] == [2, 2]
        assert np.array_equal(np.sort(np.concatenate(list(keys.values()))), corpus.store.keys())


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_late_interaction_scores_pages_anew(tmp_path: Path, dtype: str):
    write_documents(tmp_path / "docs")
    config = {**PICTURES, "late_interaction": {"dtype": dtype, "depth": 2}}
    tokens = RowTokenEmbedder()
    parts = {"page_embedder": ThumbnailEmbedder(), "token_embedder": tokens}
    with Corpus.open(tmp_path / "c", config=config, **parts) as corpus:
        for name in ("a.pdf", "b.pdf"):
            corpus.add(tmp_path / "docs" / name)
        hits = corpus.search("left", 4)
        assert hits[0].passage.page == 1
        assert hits[0].passage.image is not None
        query, page_rows = (
            tokens.embed_query_tokens(["left"])[0],
            tokens.embed_passage_tokens([hits[0].passage])[0],
        )
        assert hits[0].score == pytest.approx(float((query @ page_rows.T).max(axis=1).sum()), abs=0.02)
        assert len(hits) == 4
        assert corpus.verify() == []
        corpus.remove("b.pdf")
        assert corpus.verify() == []
        assert len(corpus.search("bottom", 9)) == 3
    with pytest.raises(CorpusError, match="with a late-interaction embedder and is opened without one"):
        Corpus.open(tmp_path / "c", page_embedder=ThumbnailEmbedder()).search("left")


def test_what_a_corpus_embeds_is_settled_when_it_is_made(tmp_path: Path):
    Corpus.open(tmp_path / "c", config=PICTURES, page_embedder=ThumbnailEmbedder()).close()
    with pytest.raises(CorpusError, match=r"made with pages.embed = 'image' and is opened with 'text'"):
        Corpus.open(tmp_path / "c", config={"pages": {"embed": "text"}})
    with pytest.raises(CorpusError, match=r"with page embedder 'ThumbnailEmbedder' and is opened without one"):
        _ = Corpus.open(tmp_path / "c").page_embedder
    with pytest.raises(ConfigError, match=r"no model is named for it"):
        Corpus.open(tmp_path / "d", config=PICTURES)
    with pytest.raises(ConfigError, match=r"given as page_embedder"):
        Corpus.open(tmp_path / "e", config=PICTURES, embedder=HashEmbedder())
    with pytest.raises(ConfigError, match=r"holds page pictures alone"):
        settings = {**PICTURES, "retrieval": {"method": "bm25"}}
        Corpus.open(tmp_path / "c", config=settings, page_embedder=ThumbnailEmbedder()).search("left")


def test_text_read_by_ocr_is_remembered_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scan = bytes([255] * 300 + [0] * 300)
    (tmp_path / "docs").mkdir()
    make_pdf(tmp_path / "docs" / "a.pdf", [PdfPage(pixels=(20, 30, scan)) for _ in range(3)])
    ocr = CountingOcr(pages_left=2)
    monkeypatch.setattr("ragkit.assemble.make_ocr", lambda _: ocr)
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        assert corpus.add(tmp_path / "docs").interrupted
        ocr.pages_left = 9
        assert corpus.add(tmp_path / "docs").added == ["a.pdf"]
        assert ocr.pages_left == 8
        assert [corpus.store.page("a.pdf", number).text for number in (1, 2, 3)] == [
            "Ferry 2",
            "Ferry 1",
            "Ferry 9",
        ]


class CountingOcr:
    """Reads so many pages, each as one word and the number of pages left; then comes Ctrl-C."""

    def __init__(self, pages_left: int) -> None:
        self.pages_left = pages_left

    def read(self, image: Image.Image) -> list[TextLine]:
        if self.pages_left == 0:
            raise KeyboardInterrupt
        self.pages_left -= 1
        boxes = (Box(0.1, 0.1, 0.2, 0.2), Box(0.3, 0.1, 0.4, 0.2))
        return [TextLine(("Ferry", str(self.pages_left + 1)), boxes)]
