"""One process that embeds texts: asked for some at a time, and ended where it speaks as it should not."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ragkit.config import EmbedderConfig
from ragkit.errors import ConfigError, RagkitError
from ragkit.records import FloatArray

_END_S = 2.0


class EndedError(Exception):
    """The process has ended, or speaks as it should not and was ended; says how."""


class LateError(Exception):
    """The process gave no reply in the time that it has, and was ended."""


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
        self._replies = select.poll()
        self._replies.register(self._out, select.POLLIN)

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, settings: EmbedderConfig) -> dict[str, Any]:
        """Have it load the model; its facts. Raises as `ask`."""

        def nothing_behind(reply: dict[str, Any]) -> int:
            if not isinstance(reply.get("facts"), dict):
                raise ValueError(f"no facts in {reply}")
            return 0

        reply, _ = self._exchange(settings.model_dump(mode="json"), nothing_behind)
        facts: dict[str, Any] = reply["facts"]
        return facts

    def ask(self, kind: str, texts: list[str], dim: int, limit_s: float) -> FloatArray:
        """float32 (len(texts), dim), which cannot be written to. limit_s: until the reply begins.

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
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for channel in (self._in, self._out):
            # What was not sent any more.
            with contextlib.suppress(OSError):
                channel.close()

    def _exchange(
        self, message: Mapping[str, Any], size: Callable[[dict[str, Any]], int], limit_s: float | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """The line of the reply, and the bytes behind it, of a size that follows from it."""
        try:
            self._in.write(json.dumps(message).encode() + b"\n")
            self._in.flush()
            # Nothing is left of the reply before: what comes is seen here. The end of the process is too.
            if limit_s is not None and not self._replies.poll(limit_s * 1000):
                raise LateError(f"no reply in {limit_s:g} seconds")
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

    def _ended(self) -> EndedError:
        # It may have closed its channel a moment before.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.end()
        status = self._process.returncode
        return EndedError(signal.Signals(-status).name if status < 0 else f"status {status}")
