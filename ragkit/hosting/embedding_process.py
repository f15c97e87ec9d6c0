"""Embedding for a server in a process of its own, kept while a corpus uses it.

In the server's process each of the hundreds of small operations of a model waits for whatever Python does at that
moment, and what answers requests waits for them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
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
# Texts of a request: so that a question need not wait for thousands of passages.
_AT_ONCE = 64
_END_S = 5.0


class EmbeddingProcesses:
    """Makes the embedders of a server's corpora; those of the same settings share a process. A context manager."""

    def __init__(self, command: Sequence[str] = WORKER) -> None:
        self._command = command
        self._lock = threading.Lock()
        # One that no corpus uses any more ends by itself.
        self._made: weakref.WeakValueDictionary[str, ProcessEmbedder] = weakref.WeakValueDictionary()

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
            embedder = self._made.get(key)
            if embedder is None:
                embedder = self._made[key] = ProcessEmbedder(config.embedder, self._command)
            return embedder

    def __enter__(self) -> EmbeddingProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for embedder in list(self._made.values()):
            embedder.close()


class ProcessEmbedder:
    """An `Embedder` and `Tokenizer` of texts whose model is in another process. Threads may share it.

    A process that ends is started anew; what it was asked for when it ended is asked once more.
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(self, settings: EmbedderConfig, command: Sequence[str] = WORKER) -> None:
        """Returns when the model is loaded; raises as `EmbeddingProcesses.make`."""
        self._settings = settings
        self._command = command
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = _Process(command, settings)
        # Also where it is merely forgotten.
        self._end = weakref.finalize(self, self._process.end)
        facts = self._facts = self._process.facts
        self.name = str(facts["name"])
        self.dim = int(facts["dim"])
        self.fingerprint = str(facts["fingerprint"])
        self.max_tokens = int(facts["max_tokens"])
        self.placement = Placement(*facts["placement"])
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
        self._is_closed = True
        self._end()

    def _vectors(self, kind: str, texts: Sequence[str]) -> FloatArray:
        vectors = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            rows = self._ask(kind, texts[start : start + _AT_ONCE])
            vectors[start : start + _AT_ONCE] = rows
        return vectors

    def _ask(self, kind: str, texts: Sequence[str]) -> FloatArray:
        request = {"ask": kind, "texts": list(texts)}
        with self._lock:
            try:
                return self._process.ask(request)
            except _EndedError:
                self._start_again()
            try:
                return self._process.ask(request)
            except _EndedError as error:
                raise RagkitError(
                    f"the process that embeds ended twice with the same {len(texts)} {kind} ({error}); what it "
                    "wrote to stderr says more"
                ) from error

    def _start_again(self) -> None:
        """Under the lock."""
        self._end()
        if self._is_closed:
            raise RagkitError("the server is ending and embeds nothing more")
        process = _Process(self._command, self._settings)
        if process.facts != self._facts:
            process.end()
            was, now = self.fingerprint, process.facts["fingerprint"]
            raise RagkitError(
                f"embedder {self.name!r} was changed while the server used it: its fingerprint was {was} and is "
                f"{now}; start the server again"
            )
        self._process = process
        self._end = weakref.finalize(self, process.end)


class _EndedError(Exception):
    """The process has ended; says how."""


class _Process:
    """What speaks as `ragkit.hosting.embedding_worker`; used by one thread at a time, but for `end`."""

    def __init__(self, command: Sequence[str], settings: EmbedderConfig) -> None:
        # A session of its own: Ctrl-C on a terminal does not reach it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._out: BinaryIO = self._process.stdout  # type: ignore[assignment]
        try:
            self.facts: dict[str, Any] = self._exchange(settings.model_dump_json().encode())["facts"]
        except _EndedError as error:
            self.end()
            raise RagkitError(f"the process that embeds did not start ({error})") from error
        except RagkitError:
            self.end()
            raise

    def ask(self, request: Mapping[str, Any]) -> FloatArray:
        """The vectors of the reply, which cannot be written to.

        Raises:
            _EndedError: there is none.
            RagkitError: the reply says what went wrong.
        """
        reply = self._exchange(json.dumps(request).encode())
        rows, columns = reply["shape"]
        numbers = self._numbers(rows * columns * 4)
        return np.frombuffer(numbers, np.float32).reshape(rows, columns)

    def end(self) -> None:
        """Kill it, whatever it does. Any thread may."""
        self._process.kill()
        self._process.wait()
        for channel in (self._in, self._out):
            # What was not sent any more.
            with contextlib.suppress(OSError):
                channel.close()

    def _numbers(self, size: int) -> bytes:
        try:
            numbers = self._out.read(size)
        except ValueError as error:
            raise self._ended() from error
        if len(numbers) < size:
            raise self._ended()
        return numbers

    def _exchange(self, line: bytes) -> dict[str, Any]:
        try:
            self._in.write(line + b"\n")
            self._in.flush()
            answer = self._out.readline()
        except (OSError, ValueError) as error:
            raise self._ended() from error
        if not answer.endswith(b"\n"):
            raise self._ended()
        reply: dict[str, Any] = json.loads(answer)
        if "problem" in reply:
            raise (ConfigError if reply["is_setting"] else RagkitError)(reply["problem"])
        return reply

    def _ended(self) -> _EndedError:
        # It may have closed its channel a moment before.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.end()
        status = self._process.returncode
        return _EndedError(signal.Signals(-status).name if status < 0 else f"status {status}")
