"""Rerankers for tests: a tiny random cross-encoder, and a server that answers /v1/rerank."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ragkit.records import Hit, PageImage, Passage

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "over", "mat", "river", "bank"]


def make_hits(texts: list[str], title: str = "") -> list[Hit]:
    """Hits with keys 0, 1, ... and falling scores."""
    return [
        Hit(
            1.0 / (key + 1),
            Passage(key=key, document=f"d{key}", page=1, start=0, end=len(text), text=text, title=title),
        )
        for key, text in enumerate(texts)
    ]


def picture_hit(key: int, grey: int, side: int = 10) -> Hit:
    """Page `key` of scan.pdf, all of one grey."""
    page = PageImage("scan.pdf", key, side, side, load=lambda: Image.new("RGB", (side, side), (grey, grey, grey)))
    return Hit(0.5, Passage(key, "scan.pdf", key, 0, 0, "", image=page))


def make_cross_encoder(folder: Path, num_labels: int = 1, seed: int = 7) -> str:
    """Write a BERT of two layers with random weights, large enough that scores differ; returns its folder."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(SPECIAL + WORDS), "utf-8")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=num_labels,
        initializer_range=0.3,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(vocabulary), model_max_length=64).save_pretrained(folder)
    return str(folder)


@contextmanager
def serve_rerank(answer: Callable[[dict[str, Any], dict[str, str]], Any]) -> Iterator[str]:
    """Run a server on a free port; `answer` gets body and headers and returns a response or JSON data."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def rerank(request: Request) -> Response:
        answered = answer(await request.json(), dict(request.headers))
        return answered if isinstance(answered, Response) else JSONResponse(answered)

    routes = [Route("/v1/rerank", rerank, methods=["POST"])]
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the test server ended"
        assert time.monotonic() < deadline, "the test server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1/rerank"
    finally:
        server.should_exit = True
        thread.join(20)


def score_by_shared_words(body: dict[str, Any], _headers: dict[str, str]) -> dict[str, Any]:
    """The share of a document's words that stand in the query, best first, as servers answer."""
    query = set(body["query"].split())
    scores = [len(query & set(text.split())) / max(1, len(set(text.split()))) for text in body["documents"]]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return {
        "id": "rerank-1",
        "model": body.get("model", "m"),
        "usage": {"total_tokens": 1},
        "results": [
            {"index": index, "document": {"text": body["documents"][index]}, "relevance_score": scores[index]}
            for index in order
        ],
    }
