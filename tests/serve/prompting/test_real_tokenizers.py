"""What is too long for a model in process is packed by that model's own tokenizer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from ragkit.config import GenerationConfig
from ragkit.devices import Placement
from ragkit.records import AskRequest, ChatMessage, ImageLimits, Sampling
from ragkit.serve.engines.transformers_engine import TransformersEngine
from ragkit.serve.prompting.request_plan import plan_requests
from tests.serve.house import LAKE, FakeStore, generate_answer, make_hit, two_page_store
from tests.serve.picture_house import RED, page_image, picture_hit
from tests.serve.tiny_llm import make_tiny_llama

CPU = Placement("cpu", "float32")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    # A token is a byte: the instructions have some 600.
    folder = make_tiny_llama(tmp_path_factory.mktemp("llm"), max_position_embeddings=1536)
    return TransformersEngine(folder, CPU)


SYSTEM = (ChatMessage("system", "Be brief. " * 900),)
TALK = (ChatMessage("user", "a 湖 " * 900), ChatMessage("assistant", "b " * 900))


@pytest.mark.parametrize(
    ("question", "history", "texts"),
    [
        ("How deep? " + "why 湖 " * 3000, (), [LAKE]),
        ("How deep?", SYSTEM, [LAKE]),
        ("How deep?", TALK, [LAKE, "x" * 5000, "深い湖。" * 900]),
        ("🎉" * 3000, (*SYSTEM, *TALK), ["x" * 5000]),
    ],
)
def test_a_model_in_process_is_never_asked_too_much(
    engine: TransformersEngine, question: str, history: tuple[ChatMessage, ...], texts: list[str]
) -> None:
    hits = [make_hit(f"{i}.txt", text) for i, text in enumerate(texts)]
    asked = AskRequest(question, history, Sampling(max_tokens=1000))
    plan = plan_requests(asked, hits, engine, FakeStore({}), GenerationConfig())
    (request,) = plan.requests
    assert request.sources
    assert engine.count_tokens(request.messages) + request.sampling.max_tokens <= engine.context_tokens
    small = AskRequest(question, history, Sampling(max_tokens=4))
    answer = asyncio.run(generate_answer(small, hits, engine, two_page_store()))
    assert (answer.usage.prompt_tokens > 0, answer.question) == (True, question)
    assert answer.notes


def test_images_of_a_vision_model_are_packed_too(tmp_path: Path) -> None:
    from tests.serve.tiny_vlm import make_tiny_vlm

    engine = TransformersEngine(make_tiny_vlm(tmp_path / "vlm"), CPU, image_limits=ImageLimits(4, 1_000_000))
    hits = [picture_hit(page_image("a.pdf", n, RED, (900, 1200)), key=n) for n in (1, 2, 3)]
    images = tuple(Image.new("RGB", (1500, 1000)) for _ in range(6))
    asked = AskRequest("What? " * 4000, (), Sampling(max_tokens=10**6), images=images)
    plan = plan_requests(asked, hits, engine, FakeStore({}), GenerationConfig())
    for request in plan.requests:
        assert engine.count_tokens(request.messages) + request.sampling.max_tokens <= engine.context_tokens
    assert plan.notes
