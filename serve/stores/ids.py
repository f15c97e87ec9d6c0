"""Ids of files, stores and batches: in order of time, so that a list can go on behind one that is gone."""

from __future__ import annotations

import re
import secrets
import threading
import time

FILE, STORE, BATCH = "file-", "vs_", "vsfb_"
_FORM = re.compile(r"[0-9a-f]{24}")
_TIME_DIGITS = 14


class IdMaker:
    """Makes ids that sort in the order they are made, also when the clock is set back.

    newest: the greatest id there is, of whatever kind, without its prefix; "" for none.
    """

    def __init__(self, newest: str = "") -> None:
        self._lock = threading.Lock()
        self._last = int(newest[:_TIME_DIGITS], 16) if newest else 0

    def make(self, prefix: str) -> str:
        """The prefix and 24 hexadecimal digits: microseconds since 1970, then chance."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return f"{prefix}{self._last:0{_TIME_DIGITS}x}{secrets.token_hex(5)}"


def is_id(text: str, prefix: str) -> bool:
    """Whether this could be an id of that kind."""
    return text.startswith(prefix) and _FORM.fullmatch(text, len(prefix)) is not None
