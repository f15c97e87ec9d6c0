"""A causal language model in this process, through transformers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError, ContextLengthError
from ragkit.extras import require
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, Sampling, Usage
from ragkit.serve.chat_template import ChatTemplate
from ragkit.serve.thread_stream import Outlet, stream_from_thread
from ragkit.serve.token_text import StopFilter, TokenText


class TransformersEngine:
    """Writes one reply at a time, in a thread of its own; the others wait for their turn.

    Args:
        name: a folder, or a name on a model hub that this machine can reach.
        context_tokens: None takes what the model was made for.

    Raises:
        ConfigError: the model cannot be loaded, or is not made for chat.
    """

    def __init__(
        self,
        name: str | Path,
        placement: Placement,
        *,
        context_tokens: int | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.name = Path(name).name if Path(name).is_dir() else str(name)
        self._tokenizer, self._model = _load(str(name), placement, trust_remote_code)
        self._template = ChatTemplate(self._tokenizer, self.name)
        longest = int(getattr(self._model.config, "max_position_embeddings", 0) or context_tokens or 4096)
        self.context_tokens = min(longest, context_tokens or longest)
        self._ends = _end_tokens(self._model, self._tokenizer)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers-engine")

    image_limits: ImageLimits | None = None

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return len(self._template.token_ids(messages))

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Raises ContextLengthError as `stream` does."""
        async with aclosing(self._deltas(request)) as deltas:
            return _joined([delta async for delta in deltas])

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Raises ContextLengthError where prompt and `max_tokens` are longer than `context_tokens`."""
        async with aclosing(self._deltas(request)) as deltas:
            async for delta in deltas:
                yield delta

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """One after the other, so that each reply is the one that `chat` gives."""
        return [self._thread.submit(self._collect, request).result() for request in requests]

    def _deltas(self, request: ChatRequest) -> Any:
        return stream_from_thread(self._thread, lambda outlet: self._generate(request, outlet))

    def _collect(self, request: ChatRequest) -> ChatReply:
        deltas: list[ChatDelta] = []
        self._generate(request, Outlet(deltas.append))
        return _joined(deltas)

    def _generate(self, request: ChatRequest, outlet: Outlet[ChatDelta]) -> None:
        if outlet.is_closed:
            return
        prompt = self._template.token_ids(request.messages)
        sampling = request.sampling
        if len(prompt) + sampling.max_tokens > self.context_tokens:
            raise ContextLengthError(
                f"the prompt has {len(prompt)} tokens and the answer may take {sampling.max_tokens}; the "
                f"context of {self.name} holds {self.context_tokens}: shorten the prompt or lower max_tokens"
            )
        writer = _Writer(self._decode, self._ends, sampling.stop, outlet.put)
        self._run(prompt, sampling, writer, lambda: outlet.is_closed or writer.stopped)
        outlet.put(writer.last(len(prompt)))

    def _run(self, prompt: list[int], sampling: Sampling, writer: _Writer, is_over: Callable[[], bool]) -> None:
        torch = require("torch")
        ids = torch.tensor([prompt], device=self._model.device)

        def over(input_ids: Any, _: Any, **__: Any) -> Any:
            return torch.full((input_ids.shape[0],), is_over(), device=input_ids.device, dtype=torch.bool)

        with torch.inference_mode(), _seeded(sampling.seed):
            self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=sampling.max_tokens,
                streamer=writer,
                stopping_criteria=[over],
                **_sampling_arguments(sampling),
            )

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


class _Writer:
    """A transformers streamer: tokens in, deltas out."""

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        ends: frozenset[int],
        stops: Sequence[str],
        put: Callable[[ChatDelta], None],
    ) -> None:
        self._text = TokenText(decode)
        self._stop = StopFilter(stops)
        self._ends = ends
        self._write = put
        self._has_prompt = False
        self._ended = False
        self._num_tokens = 0

    @property
    def stopped(self) -> bool:
        return self._stop.stopped

    def put(self, value: Any) -> None:
        """Called first with the whole prompt, then with each token."""
        if not self._has_prompt:
            self._has_prompt = True
            return
        for token_id in value.flatten().tolist():
            if token_id in self._ends:
                self._ended = True
            else:
                self._num_tokens += 1
                self._emit(self._stop.push(self._text.push(token_id)))

    def end(self) -> None:
        """Called once after the last token."""
        self._emit(self._stop.push(self._text.finish()) + self._stop.finish())

    def last(self, prompt_tokens: int) -> ChatDelta:
        """The delta that ends the reply."""
        reason = "stop" if self._ended or self.stopped else "length"
        return ChatDelta(finish_reason=reason, usage=Usage(prompt_tokens, self._num_tokens))

    def _emit(self, piece: str) -> None:
        if piece:
            self._write(ChatDelta(piece))


def _load(name: str, placement: Placement, trust_remote_code: bool) -> tuple[Any, Any]:
    transformers = require("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
        with quiet_loading():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                name, dtype=placement.torch_dtype, trust_remote_code=trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the language model {name!r} cannot be loaded: {error}. Give a folder with a causal language "
            "model, or a hub name that this machine can reach"
        ) from error
    own = model.generation_config
    # A model's own defaults (temperature, penalties) would make "temperature 0" mean something else.
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=own.bos_token_id,
        eos_token_id=sorted(_end_tokens(model, tokenizer)) or None,
        pad_token_id=own.pad_token_id if own.pad_token_id is not None else tokenizer.eos_token_id,
    )
    return tokenizer, model.to(placement.device).eval()


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)


def _sampling_arguments(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"do_sample": False}
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": top_p, "top_k": 0}


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


def _joined(deltas: Sequence[ChatDelta]) -> ChatReply:
    last = deltas[-1]
    text = "".join(delta.text for delta in deltas)
    return ChatReply(text, last.finish_reason or "stop", last.usage or Usage())
