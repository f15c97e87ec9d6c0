"""A server draws pages in processes of their own, whichever corpus they are of."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
from PIL import Image

from ragkit import Corpus
from ragkit.config import parse_config
from ragkit.files import sha256_of
from ragkit.hosting.served_app import served_app
from ragkit.indexers.page_images import Drawing
from tests.endless_pdf import make_forms_pdf
from tests.fakes import ThumbnailEmbedder
from tests.hosting.test_drawing_pool import children, wait_until
from tests.pdf_maker import make_pdf
from tests.serve.house import running

WORKER = "ragkit.hosting.drawing_worker"
# Drawing it takes some seconds, on a fast machine more than one, and reading it likewise.
SLOW = (6, 4)


def test_ragkit_serve_draws_pages_of_corpora_and_stores_within_limits(tmp_path: Path) -> None:
    small, slow = make_pdf(tmp_path / "small.pdf", ["The crane."]), make_forms_pdf(tmp_path / "slow.pdf", *SLOW)
    tables = {"embedder": {"name": "none"}, "documents": {"ocr": "never"}, "serve": {"draw_timeout_s": 0.4}}
    config = parse_config(tables)
    with Corpus.open(tmp_path / "port", config=config) as corpus:
        corpus.add([small, slow])
        drawn = corpus.store.page_image("small.pdf", 1)
        assert drawn is not None
        expected = drawn.load()
    assert children(WORKER, os.getpid()) == []
    with ExitStack() as stack:
        served = stack.enter_context(served_app(config, [tmp_path / "port"], tmp_path / "store"))
        url = stack.enter_context(running(served.app))
        client = stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))
        web = stack.enter_context(httpx.Client(base_url=f"{url}/v1/ragkit/pages/", timeout=60))
        for name, document in (("port", "small.pdf"), (store_of(client, small), "small.pdf")):
            reply = web.get(f"{name}/1", params={"document": document, "format": "image"})
            assert reply.status_code == 200, reply.text
            assert Image.open(io.BytesIO(reply.content)).tobytes() == expected.tobytes()
        (first,) = children(WORKER, os.getpid())
        lost = web.get("port/1", params={"document": "slow.pdf", "format": "image"})
        assert (lost.status_code, lost.json()["error"]["code"]) == (404, "page_not_drawn")
        assert children(WORKER, os.getpid()) == []
        assert web.get("port/1", params={"document": "small.pdf", "width": 100}).status_code == 200
        (second,) = children(WORKER, os.getpid())
        assert second != first
    wait_until(lambda: children(WORKER, os.getpid()) == [])


def store_of(client: openai.OpenAI, path: Path) -> str:
    """The id of a new vector store with this file."""
    store = client.vector_stores.create().id
    client.vector_stores.files.upload_and_poll(vector_store_id=store, file=path, poll_interval_ms=50)
    return store


def test_hits_and_pages_of_a_corpus_are_drawn_by_what_it_is_given(tmp_path: Path) -> None:
    asked: list[tuple[float, Path, str, str, int]] = []

    def redraw(drawing: Drawing, path: Path, media_type: str, content_hash: str, page: int) -> Image.Image:
        asked.append((drawing.dpi, path, media_type, content_hash, page))
        return Image.new("RGB", (1, 1), (1, 2, 3))

    pdf = make_pdf(tmp_path / "a.pdf", ["one", "two"])
    config = {"pages": {"embed": "image", "keep_pages": False, "dpi": 50}, "documents": {"ocr": "never"}}
    with Corpus.open(tmp_path / "c", config=config, page_embedder=ThumbnailEmbedder(), redraw=redraw) as corpus:
        corpus.add(pdf)
        assert asked == []
        images = [hit.passage.image for hit in corpus.search("two", k=1)] + [corpus.store.page_image("a.pdf", 2)]
        numbers = [image.page for image in images if image is not None]
        assert [image.load().getpixel((0, 0)) for image in images if image is not None] == [(1, 2, 3)] * 2
        assert asked == [(50, pdf, "application/pdf", sha256_of(pdf), number) for number in numbers]
