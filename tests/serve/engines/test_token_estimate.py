from __future__ import annotations

import pytest

from ragkit.serve.engines.token_estimate import estimate_tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("word", 2),
        ("words", 2),
        ("words " * 10, 20 + 2),
        ("two words.", 1 + 2 + 1),
        ("1,204", 5),
        ("a\nb", 3),
        ("a  b", 1 + 1 + 1),
        ("ü", 1),
        ("湖深", 4),
        ("😀", 3),
    ],
)
def test_counts(text: str, expected: int) -> None:
    assert estimate_tokens(text) == expected
