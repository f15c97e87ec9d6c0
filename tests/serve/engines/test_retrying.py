from __future__ import annotations

import email.utils
import time

import pytest

from ragkit.serve.engines.retrying import backoff_s, retry_after_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0),
        ({"retry-after": "Fri, 99 Dec 1999 23:59:59 GMT"}, None),
    ],
)
def test_what_replies_ask_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_a_date_to_come() -> None:
    found = retry_after_s({"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)})
    assert found == pytest.approx(60, abs=2)


def test_pauses_double_up_to_five_seconds_and_differ() -> None:
    for attempt, whole in enumerate([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]):
        drawn = {backoff_s(attempt) for _ in range(50)}
        assert len(drawn) > 1
        assert whole / 2 <= min(drawn) <= max(drawn) <= whole
    assert backoff_s(1000) <= 5
