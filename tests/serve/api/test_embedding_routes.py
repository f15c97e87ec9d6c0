from __future__ import annotations

import base64
import contextlib
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai.types import CreateEmbeddingResponse
from PIL import Image

from ragkit.pictures import image_url
from ragkit.records import FloatArray, Passage
from ragkit.serve.api.app import create_app
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.serve.api.openai_shapes import check_shape
from tests.serve.house import running, wait_until
from tests.serve.responses.responses_house import SmallCorpus, SmallLibrary

TEXTS = ["deep lake", "stone bridge", "深い湖"]


class TwoSided(HashEmbedder):
    """Embeds queries and passages differently, and shows its tokenizer: words."""

    max_tokens = 100

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return -super().embed_queries(texts)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        return super().embed_queries([passage.titled_text for passage in passages])

    def token_spans(self, texts: Sequence[str]) -> list[Any]:
        return [np.zeros((len(text.split()), 2), np.int32) for text in texts]


class DotEmbedder(HashEmbedder):
    metric: Any = "dot"


class SlowEmbedder(HashEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.calls = self.running = self.most = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.gate.wait(30)
        with self.lock:
            self.running -= 1
        return super().embed_passages(passages)


SLOW = SlowEmbedder()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    library = SmallLibrary(
        SmallCorpus("papers", {}, embedder=TwoSided(), page_embedder=ThumbnailEmbedder()),
        SmallCorpus("dot", {}, embedder=DotEmbedder()),
        SmallCorpus("slow", {}, embedder=SLOW),
        SmallCorpus("words", {}),
    )
    with running(create_app(library)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_client_gets_the_embedders_vectors(client: openai.OpenAI) -> None:
    expected = HashEmbedder().embed_queries(TEXTS)
    # The client asks for base64 and decodes it.
    reply = client.embeddings.create(model="papers", input=TEXTS)
    assert (reply.object, reply.model, [item.index for item in reply.data]) == ("list", "papers", [0, 1, 2])
    np.testing.assert_array_equal(np.array([item.embedding for item in reply.data], np.float32), expected)
    numbers = client.embeddings.create(model="papers", input=TEXTS[0], encoding_format="float")
    np.testing.assert_array_equal(np.array(numbers.data[0].embedding, np.float32), expected[0])
    # By the embedder's tokenizer: two words, two words, one.
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (5, 5)


def test_texts_that_are_too_long_are_said_to_be_cut(client: openai.OpenAI) -> None:
    reply: Any = client.embeddings.create(model="papers", input=["two words", "word " * 101])
    assert reply.ragkit == {"input_type": "passage", "truncated": [1]}
    assert reply.usage.total_tokens == 102


def test_the_shape_and_the_bytes(address: str) -> None:
    body: dict[str, Any] = {"model": "papers", "input": ["deep lake"]}
    numbers = httpx.post(f"{address}/v1/embeddings", json=body).json()
    check_shape(CreateEmbeddingResponse, numbers)
    coded = httpx.post(f"{address}/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    data = base64.b64decode(coded["data"][0]["embedding"])
    assert list(struct.unpack("<64f", data)) == numbers["data"][0]["embedding"]


def test_texts_are_passages_unless_they_are_called_queries(client: openai.OpenAI) -> None:
    passage = client.embeddings.create(model="papers", input="deep lake").data[0].embedding
    query = client.embeddings.create(model="papers", input="deep lake", extra_body={"input_type": "query"})
    assert query.data[0].embedding == [-value for value in passage]


def test_fewer_dimensions_are_of_unit_length_again(client: openai.OpenAI) -> None:
    whole = np.array(client.embeddings.create(model="papers", input="deep lake").data[0].embedding)
    first = np.array(client.embeddings.create(model="papers", input="deep lake", dimensions=8).data[0].embedding)
    np.testing.assert_allclose(first, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-6)
    same = client.embeddings.create(model="dot", input="deep lake", dimensions=64)
    assert len(same.data[0].embedding) == 64


def test_more_texts_than_a_batch_keep_their_order(client: openai.OpenAI) -> None:
    texts = [f"text {number}" for number in range(150)]
    reply = client.embeddings.create(model="papers", input=texts)
    expected = HashEmbedder().embed_queries(texts)
    np.testing.assert_array_equal(np.array([item.embedding for item in reply.data], np.float32), expected)


def test_a_picture_by_the_embedder_of_pages(client: openai.OpenAI) -> None:
    picture = Image.new("L", (8, 8), 255)
    picture.paste(0, (0, 0, 4, 8))
    content = [{"type": "image_url", "image_url": {"url": image_url(picture)}}]
    messages = [{"role": "user", "content": content}]
    reply: Any = client.post(
        "/embeddings", body={"model": "papers", "messages": messages}, cast_to=CreateEmbeddingResponse
    )
    vector = np.array(reply.data[0].embedding)
    wanted = ThumbnailEmbedder().embed_queries(["left", "right"])
    assert vector @ wanted[0] > 0.99
    assert vector @ wanted[1] < 0.1


@pytest.mark.parametrize(
    ("fields", "status", "message", "param"),
    [
        ({"model": "nope"}, 404, "'nope' does not exist", "model"),
        ({"model": "words"}, 400, "has no embedder of texts", "model"),
        ({"input": []}, 400, "input is empty", "input"),
        ({"input": ["a", ""]}, 400, "input[1] is empty", "input"),
        ({"input": "\ud800"}, 400, "lone surrogate", "input[0]"),
        ({"input": [1, 2]}, 400, "numbers of tokens", "input"),
        ({"input": [[1], [2]]}, 400, "numbers of tokens", "input"),
        ({"input": ["a"] * 2049}, 400, "at most 2048", "input"),
        ({"input": "a" * 2_000_001}, 400, "at most 2000000", "input"),
        ({"input": None}, 400, "send either input", "input"),
        ({"dimensions": 65}, 400, "dimensions = 65, and the vectors of 'papers' have 64", "dimensions"),
        ({"dimensions": 0}, 400, "greater than or equal to 1", "dimensions"),
        ({"model": "dot", "dimensions": 8}, 400, "inner product", "dimensions"),
        ({"encoding_format": "bytes"}, 400, "'float' or 'base64'", "encoding_format"),
        ({"inputs": "x"}, 400, "did you mean 'input'", "inputs"),
        ({"input": None, "messages": [{"role": "user", "content": "x"}]}, 400, "one image_url", "messages"),
        ({"input": None, "messages": []}, 400, "one image_url", "messages"),
    ],
)
def test_requests_that_make_no_sense_say_why(
    address: str, fields: dict[str, Any], status: int, message: str, param: str
) -> None:
    import json

    body = json.dumps({"model": "papers", "input": "x", **fields})
    reply = httpx.post(f"{address}/v1/embeddings", content=body, headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert message in error["message"]


def test_one_embedding_at_a_time_and_none_for_who_has_gone(address: str) -> None:
    def ask(timeout: float) -> None:
        with contextlib.suppress(httpx.TimeoutException):
            httpx.post(f"{address}/v1/embeddings", json={"model": "slow", "input": "x"}, timeout=timeout)

    # The first is worked on; two wait, of which one goes.
    threads = [threading.Thread(target=ask, args=(timeout,)) for timeout in (30, 0.3, 30)]
    for thread in threads:
        thread.start()
        wait_until(lambda: SLOW.running == 1)
    threads[1].join()
    for _ in range(5):
        assert httpx.get(f"{address}/health").status_code == 200
        time.sleep(0.1)
    assert SLOW.running == 1
    SLOW.gate.set()
    for thread in threads:
        thread.join()
    assert (SLOW.calls, SLOW.most) == (2, 1)
