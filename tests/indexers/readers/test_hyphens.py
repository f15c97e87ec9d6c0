from __future__ import annotations

import pytest

from ragkit.indexers.readers.hyphens import LineEndHyphens


@pytest.mark.parametrize(
    ("elsewhere", "before", "after", "expected"),
    [
        ("the information is", "infor", "mation", ""),
        ("Information.", "(infor", "mation),", ""),
        ("a tax-related matter", "tax", "related", "-"),
        ("", "non", "GAAP", "-"),
        ("", "COVID", "19", "-"),
        ("FEVEROUS is a task", "FEVER", "OUS", ""),
        ("paid on demand for years", "on", "demand", "-"),
        ("the government says", "government", "mandated", "-"),
        ("", "atten", "tion", ""),
        ("", "year-to", "date", "-"),
        ("", "ready", "to-use", "-"),
        ("", "https://example.org/annual", "report", "-"),
        ("", "2021", "bis", "-"),
    ],
)
def test_joint(elsewhere: str, before: str, after: str, expected: str) -> None:
    hyphens = LineEndHyphens()
    hyphens.learn(elsewhere.split())
    assert hyphens.joint(before, after) == expected
