"""The engine over families of vision-language models that differ in processors and in what their forward takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ragkit.devices import Placement
from ragkit.records import ChatMessage, ChatReply, ChatRequest, Sampling
from ragkit.serve.engines.transformers_engine import TransformersEngine
from tests.indexers.models.tiny_vision import make_qwen2_vl, make_qwen3_vl, make_smolvlm

PAGES = (Image.new("RGB", (90, 120), (220, 20, 20)), Image.new("RGB", (120, 90), (20, 20, 220)))


@pytest.mark.parametrize("make", [make_qwen2_vl, make_qwen3_vl, make_smolvlm])
def test_a_familys_model_sees(make: Callable[[Path], Path], tmp_path: Path) -> None:
    engine = TransformersEngine(make(tmp_path / "model"), Placement("cpu", "float32"))

    def chat(*images: Image.Image) -> ChatReply:
        messages = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hi", images))
        request = ChatRequest(messages, "Hi", sampling=Sampling(max_tokens=8), logprobs=True)
        reply = asyncio.run(engine.chat(request))
        assert engine.count_tokens(messages) == reply.usage.prompt_tokens
        return reply

    assert engine.image_limits is not None
    replies = [chat(), chat(PAGES[0]), chat(PAGES[1]), chat(*PAGES), chat(*PAGES[::-1])]
    assert len({reply.logprobs for reply in replies}) == 5
    assert replies[0].usage.prompt_tokens < replies[1].usage.prompt_tokens < replies[3].usage.prompt_tokens
