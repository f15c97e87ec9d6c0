"""One process that embeds texts: asked for some at a time, and ended where it speaks as it should not."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ragkit.config import EmbedderConfig
from ragkit.errors import ConfigError, RagkitError
from ragkit.records import FloatArray

_END_S = 2.0
# How often the time that an exchange has is looked at: a timer for each would be a thread for each.
_LOOK_S = 0.5


class EndedError(Exception):
    """The process has ended, or speaks as it should not and was ended; says how."""


class LateError(Exception):
    """The process gave no whole reply in the time that it has, and was ended."""


class EmbeddingProcess:
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
        self._has_ended = threading.Event()
        # Until when it may go on with what it was told; and whether it did not come to an end by then.
        self._due, self._is_late = math.inf, False
        threading.Thread(target=self._watch, name="embedding-watch", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was ended here; one that ended by itself is found by asking it."""
        return self._has_ended.is_set()

    def load(self, settings: EmbedderConfig, limit_s: float = math.inf) -> dict[str, Any]:
        """Have it load the model; its facts. Raises as `ask`."""

        def nothing_behind(reply: dict[str, Any]) -> int:
            if not isinstance(reply.get("facts"), dict):
                raise ValueError(f"no facts in {reply}")
            return 0

        reply, _ = self._exchange(settings.model_dump(mode="json"), nothing_behind, limit_s)
        facts: dict[str, Any] = reply["facts"]
        return facts

    def ask(self, kind: str, texts: list[str], dim: int, limit_s: float) -> FloatArray:
        """float32 (len(texts), dim), which cannot be written to. limit_s: until all of the reply is there.

        Raises:
            EndedError: there is no reply of that shape.
            LateError: there is none in that time.
            RagkitError: the reply says what went wrong.
        """
        shape = [len(texts), dim]

        def size(reply: dict[str, Any]) -> int:
            if reply["shape"] != shape:
                raise ValueError(f"{reply['shape']} in place of {shape}")
            return 4 * len(texts) * dim

        _, numbers = self._exchange({"ask": kind, "texts": texts}, size, limit_s)
        return np.frombuffer(numbers, np.float32).reshape(shape)

    def end(self) -> None:
        """Kill it, and what it has started, whatever they do. Any thread may."""
        self._has_ended.set()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for channel in (self._in, self._out):
            # What was not sent any more.
            with contextlib.suppress(OSError):
                channel.close()

    def _exchange(
        self, message: Mapping[str, Any], size: Callable[[dict[str, Any]], int], limit_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """The line of the reply, and the bytes behind it, of a size that follows from it."""
        self._due = time.monotonic() + limit_s
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
            ended = self._ended()
            raise (LateError(f"no reply in {limit_s:g} seconds") if self._is_late else ended) from error
        except BaseException:
            # What is left of the reply is none to the next message.
            self.end()
            raise
        finally:
            self._due = math.inf
        raise (ConfigError if reply.get("is_setting") else RagkitError)(reply["problem"])

    def _watch(self) -> None:
        """End it where it takes too long, whether it does not read, not reply or stops in the middle."""
        while not self._has_ended.wait(_LOOK_S):
            if time.monotonic() > self._due:
                self._is_late = True
                self.end()

    def _ended(self) -> EndedError:
        # It may have closed its channel a moment before.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.end()
        status = self._process.returncode
        return EndedError(signal.Signals(-status).name if status < 0 else f"status {status}")
