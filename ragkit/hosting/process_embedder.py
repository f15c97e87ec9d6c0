"""Embedding for a server in a process of its own, kept while a corpus uses it.

In the server's process each of the hundreds of small operations of a model waits for whatever Python does at that
moment, and what answers requests waits for them.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

import numpy as np

from ragkit.assemble import NO_EMBEDDER
from ragkit.config import Config, EmbedderConfig
from ragkit.devices import Placement
from ragkit.errors import RagkitError
from ragkit.extras import require
from ragkit.hosting.embedding_process import EmbeddingProcess, EndedError, LateError
from ragkit.indexers.models.text_embedder import spans_of
from ragkit.protocols import Embedder
from ragkit.records import FloatArray, Passage, SpanArray

WORKER = (sys.executable, "-m", "ragkit.hosting.embedding_worker")
# Texts of a request: a question need not wait for many passages; a GPU is fast with many.
_AT_ONCE = {"cpu": 16}
_AT_ONCE_ELSEWHERE = 256
# Far beyond what a slow model takes with so many texts: what has hung is told from it by nothing else.
_LIMIT_S = 600.0
_ENDING = "the server is ending and embeds nothing more"
_log = logging.getLogger("ragkit.serve")


class EmbeddingProcesses:
    """Makes the embedders of a server's corpora; those of the same settings share a process. A context manager.

    limit_s: as of `ProcessEmbedder`.
    """

    def __init__(self, command: Sequence[str] = WORKER, limit_s: float = _LIMIT_S) -> None:
        self._command, self._limit_s = command, limit_s
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
                embedder = self._made[key] = ProcessEmbedder(config.embedder, self._command, self._limit_s)
        # Outside of the lock: loading may take minutes, in which the others are to be had.
        embedder.start()
        return embedder

    def __enter__(self) -> EmbeddingProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they do. Whoever waits for them, and whoever asks, gets a RagkitError."""
        with self._lock:
            self._is_closed = True
            made = list(self._made.values())
        for embedder in made:
            embedder.close()


class ProcessEmbedder:
    """An `Embedder` and `Tokenizer` of texts whose model is in another process. Threads may share it.

    A process that ends is started anew; what it was asked for when it ended is asked once more. One that takes
    longer than limit_s with some texts, or to load again, is ended, or all others would wait for it for ever; the
    next texts start it.
    """

    name: str
    dim: int
    metric: Literal["cosine"] = "cosine"
    fingerprint: str
    max_tokens: int
    placement: Placement

    def __init__(
        self, settings: EmbedderConfig, command: Sequence[str] = WORKER, limit_s: float = _LIMIT_S
    ) -> None:
        """`start` comes first."""
        self._settings = settings
        self._command, self._limit_s = command, limit_s
        # Of what the process is asked; and of which one it is.
        self._asking, self._choosing = threading.Lock(), threading.Lock()
        self._process: EmbeddingProcess | None = None
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
            if self._process is not None and self._process.has_ended:
                self._begin_again()
            try:
                return self._asked(kind, texts)
            except EndedError as error:
                self._check_open()
                _log.warning("the process that embeds by %s ended (%s) and is started again", self.name, error)
            self._begin_again()
            try:
                return self._asked(kind, texts)
            except EndedError as error:
                self._check_open()
                raise RagkitError(
                    f"the process that embeds by {self.name} ended twice with the same {len(texts)} {kind} "
                    f"({error}); what it wrote to stderr says more"
                ) from error

    def _asked(self, kind: str, texts: list[str]) -> FloatArray:
        assert self._process is not None, "start comes first"
        try:
            return self._process.ask(kind, texts, self.dim, self._limit_s)
        except LateError as error:
            # Not asked once more: these texts may be why.
            raise RagkitError(
                f"the process that embeds by {self.name} gave {error} for {len(texts)} {kind} and was ended; "
                "the next question starts it again"
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
            process = self._process = EmbeddingProcess(self._command)
            # Also where this embedder is merely forgotten.
            self._finalizer = weakref.finalize(self, process.end)
        try:
            # The first time it may have to be fetched from afar.
            return process.load(self._settings, math.inf if self._tokenizer is None else self._limit_s)
        except (EndedError, LateError) as error:
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
