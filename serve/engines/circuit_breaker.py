"""Leaves a server alone that has failed several times in a row, and tries it again after a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ragkit.errors import (
    ContextLengthError,
    EngineError,
    EngineUnavailableError,
    ImageInputError,
    RequestRefusedError,
)

State = Literal["closed", "open", "half-open"]
# The server is well when it says these.
_ASKERS_FAULT = (ContextLengthError, ImageInputError, RequestRefusedError)


class CircuitBreaker:
    """Closed: calls go through. After `failures` in a row it is open for `open_s` seconds: calls fail at once.
    Then half-open: one call goes through, and closes it or opens it again. Any number of threads may use one.

    M. Nygard, Release It!, 2nd edition, 2018, "Circuit Breaker".

    Args:
        clock: seconds from anywhere, never going back.
    """

    def __init__(
        self, failures: int = 5, open_s: float = 10, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._open_s, self._clock = failures, open_s, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        # Calls that began before it opened or closed say nothing of the server as it is now.
        self._epoch = 0
        self._trial: Call | None = None

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "open" if self.retry_after_s > 0 else "half-open"

    @property
    def retry_after_s(self) -> float:
        """Seconds until a call may go through; 0 where one may now."""
        opened_at = self._opened_at
        return 0.0 if opened_at is None else max(0.0, opened_at + self._open_s - self._clock())

    @contextmanager
    def call(self, name: str) -> Iterator[Call]:
        """Around a call of the server, which `name` says in errors; how it ends decides what is remembered.

        An EngineError is a failure unless the asker is at fault; a call that is given up, or that the server is
        too busy for, counts as nothing.

        Raises:
            EngineUnavailableError: it is open, or half-open and another call is being tried.
        """
        call = self._enter(name)
        try:
            yield call
        except _ASKERS_FAULT:
            self._succeeded(call)
            raise
        except EngineError as error:
            if not (isinstance(error, EngineUnavailableError) and error.is_busy):
                self._failed(call)
            raise
        else:
            self._succeeded(call)
        finally:
            self._leave(call)

    def reset(self) -> None:
        """Close it: the server is known to be well."""
        with self._lock:
            self._close()

    def _enter(self, name: str) -> Call:
        with self._lock:
            if self._opened_at is None:
                return Call(self, self._epoch)
            wait = self._open_s if self._trial else self.retry_after_s
            if wait:
                raise EngineUnavailableError(f"{name} failed too often and is left alone for {wait:.1f} s", wait)
            self._trial = Call(self, self._epoch)
            return self._trial

    def _leave(self, call: Call) -> None:
        with self._lock:
            if self._trial is call:
                self._trial = None

    def _answered(self, call: Call) -> None:
        with self._lock:
            if self._trial is call:
                self._close()
                # It has not ended well yet: one more failure opens it again.
                self._failures = self._limit - 1
                call.epoch = self._epoch

    def _succeeded(self, call: Call) -> None:
        with self._lock:
            if call.epoch == self._epoch:
                self._close()

    def _failed(self, call: Call) -> None:
        with self._lock:
            if call.epoch != self._epoch:
                return
            self._failures += 1
            if self._failures >= self._limit or self._trial is call:
                self._opened_at = self._clock()
                self._epoch += 1
                self._failures = 0

    def _close(self) -> None:
        if self._opened_at is not None:
            self._epoch += 1
        self._opened_at, self._failures, self._trial = None, 0, None


@dataclass(eq=False)
class Call:
    """A call that is under way."""

    breaker: CircuitBreaker
    epoch: int

    def answered(self) -> None:
        """The first of the answer has come: others need not wait for its end."""
        self.breaker._answered(self)
