"""Embedding for a server in a process of its own, kept while a corpus uses it.

In the server's process each of the hundreds of small operations of a model waits for whatever Python does at that
moment, and what answers requests waits for them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np

from ragkit.assemble import NO_EMBEDDER
from ragkit.config import Config, EmbedderConfig
from ragkit.devices import Placement
from ragkit.errors import ConfigError, RagkitError
from ragkit.extras import require
from ragkit.indexers.models.text_embedder import spans_of
from ragkit.protocols import Embedder
from ragkit.records import FloatArray, Passage, SpanArray

WORKER = (sys.executable, "-m", "ragkit.hosting.embedding_worker")
# Texts of a request: a question need not wait for many passages; a GPU is fast with many.
_AT_ONCE = {"cpu": 16}
_AT_ONCE_ELSEWHERE = 256
_END_S = 2.0
_ENDING = "the server is ending and embeds nothing more"
_log = logging.getLogger("ragkit.serve")


class EmbeddingProcesses:
    """Makes the embedders of a server's corpora; those of the same settings share a process. A context manager."""

    def __init__(self, command: Sequence[str] = WORKER) -> None:
        self._command = command
        self._lock = threading.Lock()
        # One whose corpora Python has collected ends by itself.
        self._made: weakref.WeakValueDictionary[str, ProcessEmbedder] = weakref.WeakValueDictionary()
        self._is_closed = False

    def make(self, config: Config) -> Embedder | None:
        """An `EmbedderFactory`: as `assemble.make_embedder`, in a process of its own.

        Raises:
            ConfigError: there is no such model, or it cannot be loaded.
            RagkitError: the process ended before it was ready.
        """
        if config.embedder.name == NO_EMBEDDER:
            return None
        key = config.embedder.model_dump_json()
        with self._lock:
            if self._is_closed:
                raise RagkitError(_ENDING)
            embedder = self._made.get(key)
            if embedder is None:
                embedder = self._made[key] = ProcessEmbedder(config.embedder, self._command)
        # Outside of the lock: loading may take minutes, in which the others are to be had.
        embedder.start()
        return embedder

    def __enter__(self) -> EmbeddingProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_closed = True
            made = list(self._made.values())
        for embedder in made:
            embedder.close()


class ProcessEmbedder:
    """An `Embedder` and `Tokenizer` of texts whose model is in another process. Threads may share it.

    A process that ends is started anew; what it was asked for when it ended is asked once more.
    """

    name: str
    dim: int
    metric: Literal["cosine"] = "cosine"
    fingerprint: str
    max_tokens: int
    placement: Placement

    def __init__(self, settings: EmbedderConfig, command: Sequence[str] = WORKER) -> None:
        """`start` comes first."""
        self._settings = settings
        self._command = command
        # Of what the process is asked; and of which one it is.
        self._asking, self._choosing = threading.Lock(), threading.Lock()
        self._process: _Process | None = None
        self._is_closed = False
        self._tokenizer: Any = None
        self._changed = ""
        self._finalizer: weakref.finalize[[], ProcessEmbedder] | None = None

    def start(self) -> None:
        """Load the model, unless it is; raises as `EmbeddingProcesses.make`."""
        with self._asking:
            if self._tokenizer is not None:
                return
            facts = self._begin()
            self.name, self.fingerprint = str(facts["name"]), str(facts["fingerprint"])
            self.dim, self.max_tokens = int(facts["dim"]), int(facts["max_tokens"])
            self.placement = Placement(*facts["placement"])
            # What was decided by a look at the machine is not to be decided anew.
            placed = {"device": self.placement.device, "dtype": self.placement.dtype}
            self._settings = self._settings.model_copy(update=placed)
            # Here, for each question is looked at by it: it is quick, and need not wait for what is embedded.
            self._tokenizer = require("tokenizers").Tokenizer.from_str(facts["tokenizer"])

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """As `TextEmbedder.embed_queries`."""
        return self._vectors("queries", texts)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """As `TextEmbedder.embed_passages`."""
        return self._vectors("passages", [passage.titled_text for passage in passages])

    def token_spans(self, texts: Sequence[str]) -> list[SpanArray]:
        """As `TextEmbedder.token_spans`."""
        return spans_of(self._tokenizer, texts)

    def close(self) -> None:
        """End the process; whoever waits for it, and whoever asks from now on, gets a RagkitError."""
        with self._choosing:
            self._is_closed = True
            process = self._process
        if process is not None:
            process.end()

    def _vectors(self, kind: str, texts: Sequence[str]) -> FloatArray:
        size = _AT_ONCE.get(self.placement.device, _AT_ONCE_ELSEWHERE)
        vectors = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), size):
            vectors[start : start + size] = self._ask(kind, list(texts[start : start + size]))
        return vectors

    def _ask(self, kind: str, texts: list[str]) -> FloatArray:
        with self._asking:
            assert self._process is not None, "start comes first"
            try:
                return self._process.ask(kind, texts, self.dim)
            except _EndedError as error:
                self._check_open()
                _log.warning("the process that embeds by %s ended (%s) and is started again", self.name, error)
            self._begin_again()
            try:
                return self._process.ask(kind, texts, self.dim)
            except _EndedError as error:
                self._check_open()
                raise RagkitError(
                    f"the process that embeds by {self.name} ended twice with the same {len(texts)} {kind} "
                    f"({error}); what it wrote to stderr says more"
                ) from error

    def _begin_again(self) -> None:
        if not self._changed:
            now = self._begin()["fingerprint"]
            if now == self.fingerprint:
                return
            self._changed = f"its fingerprint was {self.fingerprint} and is {now}"
            assert self._process is not None, "it was begun"
            self._process.end()
        raise RagkitError(
            f"embedder {self.name!r} was changed while the server used it: {self._changed}; start the server again"
        )

    def _begin(self) -> dict[str, Any]:
        """Start another process and have it load the model; what it says of that. Under the lock of asking."""
        with self._choosing:
            self._check_open()
            if self._finalizer is not None:
                self._finalizer.detach()
            process = self._process = _Process(self._command)
            # Also where this embedder is merely forgotten.
            self._finalizer = weakref.finalize(self, process.end)
        try:
            return process.load(self._settings)
        except _EndedError as error:
            self._check_open()
            raise RagkitError(
                f"the process that embeds by {self._settings.name} did not start ({error}); what it wrote to "
                "stderr says more"
            ) from error
        except BaseException:
            process.end()
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise RagkitError(_ENDING)


class _EndedError(Exception):
    """The process has ended, or speaks as it should not and was ended; says how."""


class _Process:
    """What speaks as `ragkit.hosting.embedding_worker`; used by one thread at a time, but for `end`."""

    def __init__(self, command: Sequence[str]) -> None:
        """Returns at once; `load` comes first."""
        # A session of its own: Ctrl-C on a terminal does not reach it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._out: BinaryIO = self._process.stdout  # type: ignore[assignment]

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, settings: EmbedderConfig) -> dict[str, Any]:
        """Have it load the model; its facts. Raises as `ask`."""
        reply, _ = self._exchange(settings.model_dump(mode="json"), lambda reply: 0 * len(reply["facts"]))
        facts: dict[str, Any] = reply["facts"]
        return facts

    def ask(self, kind: str, texts: list[str], dim: int) -> FloatArray:
        """float32 (len(texts), dim), which cannot be written to.

        Raises:
            _EndedError: there is no reply of that shape.
            RagkitError: the reply says what went wrong.
        """
        shape = [len(texts), dim]

        def size(reply: dict[str, Any]) -> int:
            if reply["shape"] != shape:
                raise ValueError(f"{reply['shape']} in place of {shape}")
            return 4 * len(texts) * dim

        _, numbers = self._exchange({"ask": kind, "texts": texts}, size)
        return np.frombuffer(numbers, np.float32).reshape(shape)

    def end(self) -> None:
        """Kill it, and what it has started, whatever they do. Any thread may."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for channel in (self._in, self._out):
            # What was not sent any more.
            with contextlib.suppress(OSError):
                channel.close()

    def _exchange(
        self, message: Mapping[str, Any], size: Callable[[dict[str, Any]], int]
    ) -> tuple[dict[str, Any], bytes]:
        """The line of the reply, and the bytes behind it, of a size that follows from it."""
        try:
            self._in.write(json.dumps(message).encode() + b"\n")
            self._in.flush()
            reply = json.loads(self._out.readline())
            if "problem" not in reply:
                content = self._out.read(wanted := size(reply))
                if len(content) < wanted:
                    raise EOFError
                return reply, content
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            # Behind half a message, or what is none, nothing can be understood.
            raise self._ended() from error
        except BaseException:
            # What is left of the reply is none to the next message.
            self.end()
            raise
        raise (ConfigError if reply.get("is_setting") else RagkitError)(reply["problem"])

    def _ended(self) -> _EndedError:
        # It may have closed its channel a moment before.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.end()
        status = self._process.returncode
        return _EndedError(signal.Signals(-status).name if status < 0 else f"status {status}")
