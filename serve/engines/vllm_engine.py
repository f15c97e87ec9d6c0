"""A model in this process through vLLM, for many questions at once."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ragkit.errors import ConfigError, ContextLengthError, EngineError, MissingExtraError
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, Sampling, Usage
from ragkit.serve.engines.chat_json import message_json
from ragkit.serve.engines.upstream_errors import shown_name
from ragkit.serve.prompting.image_size import check_images, estimate_image_tokens

_INSTALL = (
    "vllm is not installed here. Its pins collide with much else: install ragkit into vLLM's own environment, or "
    "let vLLM's server run there (ragkit serve --vllm MODEL --vllm-python PATH)"
)
_EXTRA = frozenset({"top_k", "min_p", "repetition_penalty", "ignore_eos", "min_tokens", "stop_token_ids"})


class VllmEngine:
    """`vllm.LLM`: batches are worked on together, single requests one after the other.

    It is for offline work: vLLM's batches cannot be broken off, and a stream comes in one piece.

    Args:
        arguments: of vLLM's command line, such as ["--max-model-len", "8192"].
        image_limits: what a vision-language model gets to see at most; None for a model that reads text alone.

    Raises:
        MissingExtraError: vllm is not installed.
        ConfigError: the model cannot be loaded, or an argument is not known.
    """

    heeds = _EXTRA | {
        "max_tokens",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "frequency_penalty",
        "presence_penalty",
    }

    def __init__(
        self, model: str, arguments: Sequence[str] = (), *, image_limits: ImageLimits | None = None
    ) -> None:
        self._vllm = _require_vllm()
        self.name = shown_name(model)
        self.image_limits = image_limits
        self._llm = _load(self._vllm, model, arguments, image_limits)
        self.context_tokens = int(self._llm.llm_engine.model_config.max_model_len)
        self._tokenizer = self._llm.get_tokenizer()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vllm-engine")

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Of text by the model's own template and tokenizer; of images an estimate."""
        images = sum(estimate_image_tokens(image) for message in messages for image in message.images)
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            ids = self._tokenizer.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
        except Exception as error:
            # Templates raise Jinja's errors where they do not like the order of the roles.
            raise EngineError(f"the chat template of {self.name} refuses the messages: {error}") from error
        return len(ids) + images

    async def chat(self, request: ChatRequest) -> ChatReply:
        """As `chat_batch` for one; cancelling it does not stop vLLM."""
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._thread, self.chat_batch, [request]))[0]

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """The whole text as one piece."""
        reply = await self.chat(request)
        if reply.text:
            yield ChatDelta(reply.text)
        yield ChatDelta(finish_reason=reply.finish_reason, usage=reply.usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """All at once, by continuous batching (Kwon et al., PagedAttention, SOSP 2023).

        Raises:
            ContextLengthError: a prompt and its max_tokens are longer than `context_tokens`; nothing is run then.
            ImageInputError: there are more images than the engine reads.
        """
        for request in requests:
            self._check(request)
        if not requests:
            return []
        conversations = [[message_json(message) for message in request.messages] for request in requests]
        settings = [self._sampling(request) for request in requests]
        with self._lock:
            try:
                outputs = self._llm.chat(conversations, settings, use_tqdm=False)
            except ValueError as error:
                raise EngineError(f"vLLM takes no such request: {error}") from error
        return [_reply(output, request) for output, request in zip(outputs, requests, strict=True)]

    def _check(self, request: ChatRequest) -> None:
        check_images(request.messages, self.image_limits, self.name)
        count, room = self.count_tokens(request.messages), request.sampling.max_tokens
        has_images = any(message.images for message in request.messages)
        if count + room > self.context_tokens and not has_images:
            raise ContextLengthError(
                f"the prompt has {count} tokens and the answer may take {room}; the context of {self.name} holds "
                f"{self.context_tokens}: shorten the prompt or lower max_tokens"
            )

    def _sampling(self, request: ChatRequest) -> Any:
        sampling = request.sampling
        fields: Mapping[str, Any] = {
            "top_p": sampling.top_p,
            "stop": list(sampling.stop) or None,
            "seed": sampling.seed,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
            "logprobs": 0 if request.logprobs else None,
            **_known_extra(sampling),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return self._vllm.SamplingParams(max_tokens=sampling.max_tokens, temperature=sampling.temperature, **given)


def _known_extra(sampling: Sampling) -> dict[str, Any]:
    return {name: value for name, value in (sampling.extra or {}).items() if name in _EXTRA}


def _reply(output: Any, request: ChatRequest) -> ChatReply:
    written = output.outputs[0]
    usage = Usage(len(output.prompt_token_ids or ()), len(written.token_ids))
    logprobs = None
    if request.logprobs and written.logprobs is not None:
        logprobs = tuple(
            float(likely[token].logprob) for token, likely in zip(written.token_ids, written.logprobs, strict=True)
        )
    return ChatReply(written.text, "length" if written.finish_reason == "length" else "stop", usage, logprobs)


def _require_vllm() -> Any:
    try:
        return importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise MissingExtraError(_INSTALL) from error


def _load(vllm: Any, model: str, arguments: Sequence[str], image_limits: ImageLimits | None) -> Any:
    """By the parser of vLLM's own command line, so that its arguments mean the same as for its server."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    parser = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser(exit_on_error=False)
    engine_args = importlib.import_module("vllm.engine.arg_utils").EngineArgs
    images = {} if image_limits is None else {"limit_mm_per_prompt": {"image": image_limits.max_images}}
    try:
        parsed = engine_args.add_cli_args(parser).parse_args(["--model", model, *arguments])
        settings = vars(engine_args.from_cli_args(parsed)) | images
    except (SystemExit, Exception) as error:
        raise ConfigError(f"generation.vllm_args = {list(arguments)}: {error}") from error
    try:
        return vllm.LLM(**settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"vLLM cannot load the model {model!r}: {error}") from error
