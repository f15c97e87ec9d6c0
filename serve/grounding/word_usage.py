"""Token counts of engines that have no tokenizer: a token is a word."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.records import ChatMessage, ChatRequest, Usage


def count_words(messages: Sequence[ChatMessage]) -> int:
    """Words between white space in all messages."""
    return sum(len(message.content.split()) for message in messages)


def word_usage(request: ChatRequest, reply: str) -> Usage:
    """What a reply took, in words."""
    return Usage(count_words(request.messages), len(reply.split()))
