from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ragkit.devices import Placement
from ragkit.errors import ConfigError, ContextLengthError
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, Sampling
from ragkit.serve.engines.transformers_engine import TransformersEngine
from tests.serve.tiny_llm import NO_SYSTEM_TEMPLATE, make_tiny_llama

CPU = Placement("cpu", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def engine(folder: Path) -> TransformersEngine:
    return TransformersEngine(folder, CPU)


def request(text: str = "Hi", **sampling: object) -> ChatRequest:
    settings = Sampling(**{"max_tokens": 12, **sampling})  # type: ignore[arg-type]
    return ChatRequest((ChatMessage("user", text),), text, sampling=settings)


def chat(engine: TransformersEngine, asked: ChatRequest) -> ChatReply:
    return asyncio.run(engine.chat(asked))


def test_greedy_replies_are_those_of_generate(engine: TransformersEngine, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("<|start|>user\nHi<|end|>\n<|start|>assistant\n", return_tensors="pt").input_ids
    with torch.inference_mode():
        out = model.generate(ids, max_new_tokens=12, do_sample=False, attention_mask=torch.ones_like(ids))
    expected = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    reply = chat(engine, request())
    assert reply.text == expected != ""
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (ids.shape[1], 12)
    assert reply.finish_reason == "length"
    assert engine.name == "tiny-llama"


def test_a_seed_repeats_and_another_differs(engine: TransformersEngine) -> None:
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    replies = [chat(engine, request(temperature=1.0, seed=seed)).text for seed in (1, 1, 2)]
    assert replies[0] == replies[1] != replies[2]
    assert torch.equal(before, torch.get_rng_state())


def test_a_small_top_p_is_nearly_greedy(engine: TransformersEngine) -> None:
    assert chat(engine, request(temperature=1.0, top_p=1e-6)).text == chat(engine, request()).text


def test_text_ends_before_a_stop_string(engine: TransformersEngine) -> None:
    whole = chat(engine, request()).text
    stop = whole[3:5]
    reply = chat(engine, request(stop=(stop,)))
    assert reply.text == whole[: whole.index(stop)]
    assert reply.finish_reason == "stop"
    assert reply.usage.completion_tokens < 12


def test_more_than_the_context_is_an_error_with_the_numbers(engine: TransformersEngine) -> None:
    with pytest.raises(
        ContextLengthError, match=r"prompt has 517 tokens and .* 12; the context of tiny-llama holds 512"
    ):
        chat(engine, request("x" * 498))


def test_the_context_can_be_set_smaller_but_not_larger(folder: Path) -> None:
    assert TransformersEngine(folder, CPU, context_tokens=64).context_tokens == 64
    assert TransformersEngine(folder, CPU, context_tokens=9999).context_tokens == 512


def test_closing_the_stream_stops_the_generation(engine: TransformersEngine) -> None:
    long = request(max_tokens=400)

    async def take_two() -> list[ChatDelta]:
        stream = engine.stream(long)
        taken = [await anext(stream), await anext(stream)]
        await stream.aclose()  # type: ignore[attr-defined]
        return taken

    steps = []
    hook = engine._model.register_forward_hook(lambda *_: steps.append(1))
    try:
        assert len(asyncio.run(take_two())) == 2
        # The engine works on one request at a time, so this one begins when the other has ended.
        chat(engine, request(max_tokens=1))
    finally:
        hook.remove()
    assert len(steps) < 200


def test_a_request_that_waits_and_is_given_up_never_runs(engine: TransformersEngine) -> None:
    async def give_up_second() -> int:
        first = asyncio.ensure_future(engine.chat(request(max_tokens=100)))
        second = asyncio.ensure_future(engine.chat(request(max_tokens=400)))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.wait({second})
        return (await first).usage.completion_tokens

    steps = []
    hook = engine._model.register_forward_hook(lambda *_: steps.append(1))
    try:
        tokens = asyncio.run(give_up_second())
        chat(engine, request(max_tokens=1))
    finally:
        hook.remove()
    assert len(steps) <= tokens + 2


def test_what_a_message_says_is_no_control_token(engine: TransformersEngine) -> None:
    plain = engine.count_tokens([ChatMessage("user", "a b")])
    sneaky = engine.count_tokens([ChatMessage("user", "a<|end|>b")])
    assert sneaky - plain == len("< |end|>") - 1


def test_a_template_without_system_gets_it_in_the_first_user_message(tmp_path: Path) -> None:
    engine = TransformersEngine(make_tiny_llama(tmp_path / "m", NO_SYSTEM_TEMPLATE), CPU)
    with_system = engine.count_tokens([ChatMessage("system", "abc"), ChatMessage("user", "de")])
    assert with_system == engine.count_tokens([ChatMessage("user", "abc\n\nde")])


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no chat template"):
        TransformersEngine(make_tiny_llama(tmp_path / "m", None), CPU)


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        TransformersEngine(tmp_path, CPU)


@pytest.mark.parametrize("extra", [{"top_k": 1}, {"min_p": 1.0}])
def test_the_narrowest_choice_is_greedy(engine: TransformersEngine, extra: dict[str, object]) -> None:
    assert chat(engine, request(temperature=1.0, seed=1, extra=extra)).text == chat(engine, request()).text


def test_a_penalty_of_repetition_changes_what_is_written(engine: TransformersEngine) -> None:
    plain, penalized = (chat(engine, request(extra=extra)).text for extra in (None, {"repetition_penalty": 2.0}))
    assert plain != penalized
