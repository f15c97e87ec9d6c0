"""Keeping a model's control tokens out of the texts that users give."""

from __future__ import annotations

from typing import Any


def without_control_tokens(text: str, processor: Any) -> str:
    """The text with a space for each control token of the processor's tokenizer.

    A question that spells one must not place a picture, or end a turn, in the model's input.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    tokens = {*tokenizer.all_special_tokens, getattr(processor, "image_token", "")} - {""}
    for token in sorted(tokens, key=len, reverse=True):
        text = text.replace(token, " ")
    return text
