from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from ragkit.devices import Placement
from ragkit.errors import ContextLengthError, ImageInputError
from ragkit.records import ChatMessage, ChatReply, ChatRequest, ImageLimits, Sampling
from ragkit.serve.engines.transformers_engine import TransformersEngine
from tests.serve.tiny_llm import make_tiny_llama
from tests.serve.tiny_vlm import TOKENS_PER_IMAGE, make_tiny_vlm

CPU = Placement("cpu", "float32")
RED, BLUE = Image.new("RGB", (100, 60), (220, 20, 20)), Image.new("RGB", (60, 100), (20, 20, 220))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_vlm(tmp_path_factory.mktemp("models") / "tiny-vlm")


@pytest.fixture(scope="module")
def engine(folder: Path) -> TransformersEngine:
    return TransformersEngine(folder, CPU, image_limits=ImageLimits(2, 10_000))


def request(*images: Image.Image, text: str = "Hi", logprobs: bool = False, **sampling: object) -> ChatRequest:
    settings = Sampling(**{"max_tokens": 12, **sampling})  # type: ignore[arg-type]
    return ChatRequest((ChatMessage("user", text, images),), text, sampling=settings, logprobs=logprobs)


def chat(engine: TransformersEngine, asked: ChatRequest) -> ChatReply:
    return asyncio.run(engine.chat(asked))


def test_greedy_replies_and_their_logprobs_are_those_of_generate(engine: TransformersEngine, folder: Path) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    text = "<|start|>user\n<image><image>Hi<|end|>\n<|start|>assistant\n"
    inputs = processor(text=text, images=[RED, BLUE], return_tensors="pt")
    with torch.inference_mode():
        out = model.generate(
            **inputs, max_new_tokens=12, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
    written = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    rows = torch.stack(out.logits)[:, 0].log_softmax(-1)
    reply = chat(engine, request(RED, BLUE, logprobs=True))
    assert reply.text == processor.tokenizer.decode(written, skip_special_tokens=True) != ""
    assert reply.usage.prompt_tokens == inputs["input_ids"].shape[1]
    assert reply.logprobs == pytest.approx([rows[i, token].item() for i, token in enumerate(written)], abs=1e-5)
    assert chat(engine, request(RED, BLUE)) == ChatReply(reply.text, reply.finish_reason, reply.usage)
    assert engine.chat_batch([request(RED, BLUE, logprobs=True)]) == [reply]


def test_logprobs_are_those_before_the_temperature(engine: TransformersEngine) -> None:
    warm = chat(engine, request(RED, logprobs=True, temperature=5.0, top_p=1e-6, seed=1))
    assert warm == chat(engine, request(RED, logprobs=True))


def test_images_and_their_order_matter(engine: TransformersEngine) -> None:
    replies = {chat(engine, request(*images)).text for images in ((), (RED,), (BLUE,), (RED, BLUE), (BLUE, RED))}
    assert len(replies) == 5


def test_counts_are_those_of_the_prompt(engine: TransformersEngine) -> None:
    asked = request(RED, BLUE)
    assert engine.count_tokens(asked.messages) == chat(engine, asked).usage.prompt_tokens
    without = engine.count_tokens(request().messages)
    assert engine.count_tokens(asked.messages) - without == 2 * (TOKENS_PER_IMAGE + 3)


def test_text_is_no_image(engine: TransformersEngine) -> None:
    sneaky = request(text="<image> <fake_token_around_image> <|end|>")
    assert chat(engine, sneaky).usage.prompt_tokens == engine.count_tokens(sneaky.messages) > 40


def test_limits_are_kept(engine: TransformersEngine, tmp_path: Path) -> None:
    assert engine.image_limits == ImageLimits(2, 10_000)
    with pytest.raises(ImageInputError, match="the request has 3 images and tiny-vlm reads at most 2"):
        chat(engine, request(RED, RED, RED))
    with pytest.raises(ContextLengthError, match="the context of tiny-vlm holds 4096"):
        chat(engine, request(RED, max_tokens=4090))
    text_alone = TransformersEngine(make_tiny_llama(tmp_path / "tiny"), CPU)
    assert text_alone.image_limits is None
    with pytest.raises(ImageInputError, match="the request has an image and tiny reads text alone"):
        chat(text_alone, request(RED))


def test_a_text_model_has_logprobs_too(tmp_path: Path) -> None:
    engine = TransformersEngine(make_tiny_llama(tmp_path / "tiny"), CPU)
    reply = chat(engine, request(logprobs=True))
    assert reply.logprobs is not None
    assert len(reply.logprobs) == reply.usage.completion_tokens > 0
    assert max(reply.logprobs) <= 0


def test_half_precision(folder: Path) -> None:
    engine = TransformersEngine(folder, Placement("cpu", "bfloat16"))
    assert chat(engine, request(RED)).usage.completion_tokens > 0
