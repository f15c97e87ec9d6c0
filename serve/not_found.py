"""Replies that say that the sources hold no answer."""

from __future__ import annotations

import re

from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT

INSUFFICIENT_TEXT = "insufficient to answer"
_NOT_FOUND = NOT_FOUND_TEXT.casefold().rstrip(".")
_PHRASES = (_NOT_FOUND, *(INSUFFICIENT_TEXT + more for more in ("", " the question", " this question")))
# Quotes, brackets, markup and numbers of marks.
_AROUND = r"[\W\d_]*"
_BEFORE = re.compile(_AROUND)
_SAYS = re.compile(
    rf"{_AROUND}(?:{_NOT_FOUND}{_AROUND}\Z|{INSUFFICIENT_TEXT}(?: (?:the|this) question)?(?![ \t]*[^\W_]))",
    re.IGNORECASE,
)


def says_not_found(text: str) -> bool:
    """Whether the reply is the not-found sentence alone, or begins with VisRAG 2.0's "insufficient to answer".

    Marks, quotes, brackets and full stops do not count. What follows the not-found sentence is an answer like any;
    what follows the other is its reason, unless it goes on in the same words ("insufficient to answer all, but").
    """
    return _SAYS.match(text) is not None


def may_say_not_found(beginning: str) -> bool:
    """Whether `says_not_found` may hold of a reply that begins so."""
    said = " ".join(_BEFORE.sub("", beginning, count=1).casefold().split())
    return says_not_found(beginning) or any(phrase.startswith(said) for phrase in _PHRASES)
