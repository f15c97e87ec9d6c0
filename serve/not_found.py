"""Replies that say that the sources hold no answer."""

from __future__ import annotations

import string

from ragkit.serve.marks import without_marks
from ragkit.serve.prompts import NOT_FOUND_TEXT

INSUFFICIENT_TEXT = "insufficient to answer"
_AROUND = string.whitespace + string.punctuation + "“”„‟‘’‚«»‹›「」『』…。！"


def says_not_found(text: str) -> bool:
    """Whether the reply is the not-found sentence and nothing else; marks, quotes and full stops do not count."""
    return _bare(text) == _bare(NOT_FOUND_TEXT)


def says_insufficient(text: str) -> bool:
    """Whether the answer is VisRAG 2.0's sentence for it, marks, quotes and full stops apart."""
    return _bare(text) == INSUFFICIENT_TEXT


def _bare(text: str) -> str:
    return without_marks(text).casefold().strip(_AROUND)
