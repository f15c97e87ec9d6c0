"""A causal language model, or a vision-language one, in this process, through transformers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from ragkit.devices import Placement
from ragkit.errors import ContextLengthError
from ragkit.extras import require
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, Sampling, Usage
from ragkit.serve.engines.chat_model import load_chat_model
from ragkit.serve.engines.thread_stream import Outlet, stream_from_thread
from ragkit.serve.engines.token_writer import TokenWriter
from ragkit.serve.prompting.image_size import check_images

DEFAULT_LIMITS = ImageLimits(max_images=8, max_pixels=2_000_000)


class TransformersEngine:
    """Writes one reply at a time, in a thread of its own; the others wait for their turn.

    Args:
        name: a folder, or a name on a model hub that this machine can reach.
        context_tokens: None takes what the model was made for.
        image_limits: what a vision-language model gets to see at most; no matter for others.

    Raises:
        ConfigError: the model cannot be loaded, or is not made for chat.
    """

    heeds = frozenset(
        {"max_tokens", "temperature", "top_p", "stop", "seed", "top_k", "min_p", "repetition_penalty"}
    )

    def __init__(
        self,
        name: str | Path,
        placement: Placement,
        *,
        context_tokens: int | None = None,
        image_limits: ImageLimits = DEFAULT_LIMITS,
        trust_remote_code: bool = False,
    ) -> None:
        self.name = Path(name).name if Path(name).is_dir() else str(name)
        loaded = load_chat_model(str(name), self.name, placement, trust_remote_code)
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._template, self._ends = loaded.template, loaded.ends
        longest = loaded.max_tokens or context_tokens or 4096
        self.context_tokens = min(longest, context_tokens or longest)
        self.image_limits: ImageLimits | None = image_limits if loaded.reads_images else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers-engine")

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return self._template.count(messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Raises ContextLengthError and ImageInputError as `stream` does."""
        logprobs: list[float] = []
        async with aclosing(self._deltas(request, logprobs)) as deltas:
            return _joined([delta async for delta in deltas], request, logprobs)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Pieces of text as they are written.

        Raises:
            ContextLengthError: prompt and `max_tokens` are longer than `context_tokens`.
            ImageInputError: there are images and the model reads none, or too many of them.
        """
        async with aclosing(self._deltas(request, [])) as deltas:
            async for delta in deltas:
                yield delta

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """One after the other, so that each reply is the one that `chat` gives."""
        return [self._thread.submit(self._collect, request).result() for request in requests]

    def _deltas(self, request: ChatRequest, logprobs: list[float]) -> Any:
        return stream_from_thread(self._thread, lambda outlet: self._generate(request, outlet, logprobs))

    def _collect(self, request: ChatRequest) -> ChatReply:
        deltas: list[ChatDelta] = []
        logprobs: list[float] = []
        self._generate(request, Outlet(deltas.append), logprobs)
        return _joined(deltas, request, logprobs)

    def _generate(self, request: ChatRequest, outlet: Outlet[ChatDelta], logprobs: list[float]) -> None:
        """Write the reply to the outlet; the log-probabilities are there when it has ended."""
        if outlet.is_closed:
            return
        check_images(request.messages, self.image_limits, self.name)
        inputs = self._template.inputs(request.messages)
        num_tokens, sampling = inputs["input_ids"].shape[1], request.sampling
        if num_tokens + sampling.max_tokens > self.context_tokens:
            raise ContextLengthError(
                f"the prompt has {num_tokens} tokens and the answer may take {sampling.max_tokens}; the "
                f"context of {self.name} holds {self.context_tokens}: shorten the prompt or lower max_tokens"
            )
        writer = TokenWriter(self._decode, self._ends, sampling.stop, outlet.put)
        watches = [writer.watch] if request.logprobs else []
        self._run(inputs, sampling, writer, watches, lambda: outlet.is_closed or writer.stopped)
        logprobs += writer.logprobs
        outlet.put(writer.last(num_tokens))

    def _run(
        self,
        inputs: Any,
        sampling: Sampling,
        writer: TokenWriter,
        watches: Sequence[Callable[[Any, Any], Any]],
        is_over: Callable[[], bool],
    ) -> None:
        torch = require("torch")

        def over(input_ids: Any, _: Any, **__: Any) -> Any:
            return torch.full((input_ids.shape[0],), is_over(), device=input_ids.device, dtype=torch.bool)

        with torch.inference_mode(), _seeded(sampling.seed):
            self._model.generate(
                **{name: self._placed(tensor) for name, tensor in inputs.items()},
                max_new_tokens=sampling.max_tokens,
                streamer=writer,
                stopping_criteria=[over],
                logits_processor=watches,
                **_sampling_arguments(sampling),
            )

    def _placed(self, tensor: Any) -> Any:
        """On the model's device; pixels also in its precision."""
        dtype = self._model.dtype if tensor.is_floating_point() else None
        return tensor.to(self._model.device, dtype)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _sampling_arguments(sampling: Sampling) -> dict[str, Any]:
    """vLLM's -1 and 0 of top_k both mean all tokens."""
    extra = sampling.extra or {}
    penalty = {name: extra[name] for name in ("repetition_penalty",) if extra.get(name) is not None}
    if sampling.temperature == 0:
        return {"do_sample": False, **penalty}
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    least = {"min_p": extra["min_p"]} if extra.get("min_p") else {}
    top_k = max(extra.get("top_k") or 0, 0)
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": top_p,
        "top_k": top_k,
        **least,
        **penalty,
    }


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draws from `seed` inside, and leaves the caller's random numbers as they were."""
    if seed is None:
        yield
        return
    torch = require("torch")
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        yield


def _joined(deltas: Sequence[ChatDelta], request: ChatRequest, logprobs: Sequence[float]) -> ChatReply:
    last = deltas[-1]
    return ChatReply(
        text="".join(delta.text for delta in deltas),
        finish_reason=last.finish_reason or "stop",
        usage=last.usage or Usage(),
        logprobs=tuple(logprobs) if request.logprobs else None,
    )
