"""vLLM in the process, in the environment that has it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ragkit.devices import Placement
from ragkit.records import ChatMessage, ChatRequest, Sampling
from ragkit.serve.engines.transformers_engine import TransformersEngine
from tests.vllm.served import ARGUMENTS, CONTEXT, ENVIRONMENT

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
QUESTIONS = ["What is the capital of France?", "Name three colours.", "How many legs has a spider?"]
SCRIPT = """
import asyncio, json, sys
from ragkit.errors import ContextLengthError
from ragkit.records import ChatMessage, ChatRequest, Sampling
from ragkit.serve.engines.vllm_engine import VllmEngine

def main():
    model, questions, arguments = json.load(sys.stdin)
    engine = VllmEngine(model, arguments)
    sampling = Sampling(max_tokens=16)
    make = lambda text: ChatRequest((ChatMessage("user", text),), text, sampling=sampling, logprobs=True)
    requests = [make(question) for question in questions]
    replies = engine.chat_batch(requests)
    async def stream():
        return [delta async for delta in engine.stream(requests[0])]
    deltas = asyncio.run(stream())
    try:
        engine.chat_batch([requests[0], make("word " * 5000)])
        refused = ""
    except ContextLengthError as error:
        refused = str(error)
    print(json.dumps({
        "replies": [[r.text, r.finish_reason, r.usage.prompt_tokens, list(r.logprobs)] for r in replies],
        "counts": [engine.count_tokens(r.messages) for r in requests],
        "stream": "".join(delta.text for delta in deltas),
        "context": engine.context_tokens,
        "refused": refused,
        "empty": engine.chat_batch([]),
    }), file=sys.stderr)
    print("RESULT", file=sys.stderr)

if __name__ == "__main__":
    main()
"""


def test_a_batch_is_what_transformers_writes(vllm_python: Path, smollm2: Path, tmp_path: Path) -> None:
    script = tmp_path / "batch.py"
    script.write_text(SCRIPT, "utf-8")
    run = subprocess.run(
        [str(vllm_python), str(script)],
        input=json.dumps([str(smollm2), QUESTIONS, ARGUMENTS]),
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    lines = run.stderr.splitlines()
    found = json.loads(lines[lines.index("RESULT") - 1])
    local = TransformersEngine(smollm2, Placement("cpu", "float32"))
    requests = [ChatRequest((ChatMessage("user", text),), text, (), Sampling(max_tokens=16)) for text in QUESTIONS]
    expected = local.chat_batch(requests)
    assert [tuple(reply[:3]) for reply in found["replies"]] == [
        (reply.text, reply.finish_reason, reply.usage.prompt_tokens) for reply in expected
    ]
    assert all(len(reply[3]) > 0 and max(reply[3]) <= 0 for reply in found["replies"])
    assert found["counts"] == [reply.usage.prompt_tokens for reply in expected]
    assert (found["stream"], found["context"], found["empty"]) == (expected[0].text, CONTEXT, [])
    assert f"the context of {smollm2.name} holds {CONTEXT}" in found["refused"]
