"""When a request that failed may be sent again."""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections.abc import Mapping

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


def backoff_s(attempt: int) -> float:
    """Seconds to wait after failure number `attempt` (from 0): doubling, and drawn from the upper half of that, so
    that many who failed at once do not come back at once.
    """
    whole = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
    return random.uniform(whole / 2, whole)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What a reply's headers say of when to come back: milliseconds, seconds or a date (RFC 9110, 10.2.3).

    None where they say nothing that can be read.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None
