"""`ragkit serve --vllm` with SmolLM2-135M, in the order of the file: the last tests end what the first use."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import httpx
import openai
import pytest

from ragkit.devices import Placement
from ragkit.records import ChatMessage, ChatRequest, Sampling
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.transformers_engine import TransformersEngine
from tests.vllm.served import CONTEXT, Served, command_of, descendants, is_alive, serve, wait_until

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

QUESTION = [{"role": "user", "content": "How deep is Lake Ohm?"}]
# vLLM's own fields, so that an answer takes as long as a test needs.
ENDLESS = {"max_tokens": 700, "extra_body": {"ignore_eos": True}}
PROMPT = (ChatMessage("system", "Answer briefly."), ChatMessage("user", "What is the capital of France?"))


def test_an_answer_is_typed_and_counted(served: Served) -> None:
    reply = served.client().chat.completions.create(model="papers", messages=QUESTION, temperature=0)
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens > 50
    assert reply.usage.completion_tokens > 0
    assert reply.model_extra is not None
    assert reply.model_extra["ragkit"]["engine"] == "smollm2-135m-instruct"


def test_a_stream_comes_in_pieces_and_ends_with_usage(served: Served) -> None:
    request = {"model": "papers", "messages": QUESTION, "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = served.client().chat.completions.create(max_tokens=40, **request)
    started, times, last = time.monotonic(), [], None
    options = {"include_usage": True}
    for chunk in served.client().chat.completions.create(
        max_tokens=40, stream=True, stream_options=options, **request
    ):
        if chunk.choices and chunk.choices[0].delta.content:
            times.append(time.monotonic() - started)
        last = chunk
    assert len(times) > 10
    # Forty tokens one after the other, not all of them at the end.
    assert times[-1] - times[0] > 0.3
    assert last is not None
    assert last.usage == whole.usage


def test_the_servers_own_tokenizer_counts_and_its_context_is_known(served: Served) -> None:
    engine = _direct(served)
    reply = asyncio.run(engine.chat(ChatRequest(PROMPT, "", sampling=Sampling(max_tokens=1))))
    assert engine.count_tokens(PROMPT) == reply.usage.prompt_tokens
    assert engine.count_tokens([ChatMessage("user", "word " * 5000)]) > 5000
    assert engine.context_tokens == CONTEXT


def test_greedy_text_is_that_of_transformers(served: Served, smollm2: Path) -> None:
    request = ChatRequest(PROMPT, "", sampling=Sampling(max_tokens=24), logprobs=True)
    remote = asyncio.run(_direct(served).chat(request))
    local = asyncio.run(TransformersEngine(smollm2, Placement("cpu", "float32")).chat(request))
    assert (remote.text, remote.finish_reason) == (local.text, local.finish_reason)
    assert remote.usage.prompt_tokens == local.usage.prompt_tokens
    assert remote.logprobs is not None
    assert local.logprobs is not None
    common = min(len(remote.logprobs), len(local.logprobs))
    assert remote.logprobs[:common] == pytest.approx(local.logprobs[:common], abs=0.01)


def test_ragkit_passes_a_mistake_on_in_words(served: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="vocab") as caught:
        served.client().chat.completions.create(model="papers", messages=QUESTION, logit_bias={"9999999": 1})
    assert "127.0.0.1" not in str(caught.value)


def test_a_stream_that_is_closed_ends_in_vllm(served: Served) -> None:
    stream = served.client().chat.completions.create(model="papers", messages=QUESTION, stream=True, **ENDLESS)
    pieces = (chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    next(pieces)
    assert served.requests_in_vllm() == 1
    stream.close()
    wait_until(lambda: served.requests_in_vllm() == 0, 5, served.explain)


def test_a_request_whose_client_went_away_ends_in_vllm(served: Served) -> None:
    body = {"model": "papers", "messages": QUESTION, "max_tokens": 700, "ignore_eos": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=httpx.Timeout(60, read=3))
    wait_until(lambda: served.requests_in_vllm() == 0, 5, served.explain)


def test_what_is_too_long_is_packed_to_fit(served: Served) -> None:
    asked = "What does the archive of Ohm keep? " + "Letters, maps and ledgers of the mill. " * 300
    for question in ("What does the archive of the town of Ohm keep?", asked):
        reply = served.client().chat.completions.create(
            model="papers", messages=[{"role": "user", "content": question}], temperature=0
        )
        assert reply.usage is not None
        assert 0 < reply.usage.prompt_tokens <= CONTEXT - 64
        assert reply.model_extra is not None
        assert reply.model_extra["ragkit"]["notes"]


def test_a_crash_in_the_middle_is_an_error_and_the_server_comes_back(served: Served) -> None:
    stream = served.client().chat.completions.create(model="papers", messages=QUESTION, stream=True, **ENDLESS)
    with stream:
        pieces = (chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
        next(pieces)
        before = [served.vllm(), *descendants(served.vllm())]
        os.kill(served.vllm(), signal.SIGKILL)
        with pytest.raises(openai.APIError, match="the language model"):
            list(pieces)
    wait_until(lambda: not any(map(is_alive, before)), 20, lambda: str([*map(command_of, before)]))
    wait_until(lambda: not served.is_ready(), 20, served.explain)
    with pytest.raises(openai.InternalServerError) as caught:
        served.client().chat.completions.create(model="papers", messages=QUESTION)
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) >= 1
    served.wait_until_ready(300)
    reply = served.client().chat.completions.create(model="papers", messages=QUESTION)
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 0


def test_vllm_ends_with_ragkit(served: Served) -> None:
    below = descendants(served.process.pid)
    assert any("EngineCore" in command_of(pid) for pid in below)
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(60)
    wait_until(lambda: not any(map(is_alive, below)), 30, lambda: str([*map(command_of, below)]))


def test_vllm_ends_with_a_ragkit_that_is_killed(vllm_python: Path, smollm2: Path, tmp_path: Path) -> None:
    with serve(tmp_path, smollm2, vllm_python) as running:
        wait_until(lambda: len(descendants(running.process.pid)) >= 2, 60, running.explain)
        below = descendants(running.process.pid)
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not any(map(is_alive, below)), 30, lambda: str([*map(command_of, below)]))


def test_a_model_that_cannot_be_loaded_ends_ragkit_with_the_log(vllm_python: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with serve(tmp_path, tmp_path / "empty", vllm_python) as running:
        assert running.process.wait(200) == 1
        assert "the end of its log" in running.explain()
        assert descendants(running.process.pid) == []


def _direct(served: Served) -> OpenAIEngine:
    environment = Path(f"/proc/{served.vllm()}/environ").read_bytes().split(b"\0")
    (key,) = (line.partition(b"=")[2].decode() for line in environment if line.startswith(b"VLLM_API_KEY="))
    return OpenAIEngine(f"{served.vllm_url()}/v1", "smollm2-135m-instruct", api_key=key)
