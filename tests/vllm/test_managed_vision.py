"""A vision-language model on a vLLM server that is started from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ragkit.config import Config
from ragkit.devices import Placement
from ragkit.errors import ImageInputError
from ragkit.hosting.served_engine import served_engine
from ragkit.protocols import Engine
from ragkit.records import ChatMessage, ChatRequest, ImageLimits, Sampling
from ragkit.serve.engines.transformers_engine import TransformersEngine
from tests.serve.tiny_vlm import TOKENS_PER_IMAGE
from tests.vllm.served import CONTEXT, ENVIRONMENT

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

RED, BLUE = Image.new("RGB", (32, 32), (220, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 220))
LIMITS = ImageLimits(2, 1_000_000)


@pytest.fixture(scope="module")
def engine(vllm_python: Path, tiny_vlm: Path) -> Iterator[Engine]:
    generation = {
        "context_tokens": CONTEXT,
        "max_images": LIMITS.max_images,
        "max_pixels": LIMITS.max_pixels,
        "vllm_args": ["--dtype", "float32", "--enforce-eager"],
        "vllm_python": str(vllm_python),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with served_engine(Config.model_validate({"generation": generation}), str(tiny_vlm)) as served:
            assert served.engine is not None
            yield served.engine


def ask(*images: Image.Image) -> ChatRequest:
    return ChatRequest((ChatMessage("user", "What is it?", images),), "", sampling=Sampling(max_tokens=12))


@pytest.mark.parametrize("images", [(), (RED,), (RED, BLUE), (BLUE, RED)])
def test_replies_are_those_of_transformers(
    engine: Engine, tiny_vlm: Path, images: tuple[Image.Image, ...]
) -> None:
    local = TransformersEngine(tiny_vlm, Placement("cpu", "float32"), image_limits=LIMITS)
    here, there = (asyncio.run(one.chat(ask(*images))) for one in (local, engine))
    # vLLM leaves half a character at the end out.
    assert there.text.rstrip("\ufffd") == here.text.rstrip("\ufffd") != ""
    assert there.usage == here.usage
    bare = asyncio.run(engine.chat(ask())).usage.prompt_tokens
    assert there.usage.prompt_tokens - bare >= len(images) * TOKENS_PER_IMAGE


def test_more_images_than_it_takes_are_refused_here(engine: Engine) -> None:
    with pytest.raises(ImageInputError, match="3 images and .* reads at most 2"):
        asyncio.run(engine.chat(ask(RED, BLUE, RED)))
