"""A conversation as the tokens that a model was trained to read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.records import ChatMessage


class ChatTemplate:
    """Applies a tokenizer's chat template; what a message says cannot pass for a control token.

    Models whose template knows no system message get it at the head of the first user message.

    Raises:
        ConfigError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        if not self._template:
            raise ConfigError(f"{name!r} has no chat template; choose a model made for chat (an instruct model)")
        self._controls = sorted(self._control_tokens(), key=len, reverse=True)
        self._lock = threading.Lock()
        self._takes_system = self._renders([ChatMessage("system", "a"), ChatMessage("user", "b")])

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the conversation up to where the answer begins."""
        return len(self._apply(self._listed(messages))["input_ids"])

    def inputs(self, messages: Sequence[ChatMessage]) -> Any:
        """What the model's forward takes: tensors by name, among them input_ids int64 (1, tokens)."""
        torch = require("torch")
        ids = torch.tensor([list(self._apply(self._listed(messages))["input_ids"])])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    @property
    def _template(self) -> Any:
        return self._tokenizer.chat_template

    def _control_tokens(self) -> set[str]:
        return {token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special}

    def _listed(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        return list(messages) if self._takes_system else _without_system(messages)

    def _renders(self, messages: Sequence[ChatMessage]) -> bool:
        from jinja2 import TemplateError

        try:
            self._apply(messages)
        except TemplateError:
            return False
        return True

    def _apply(self, messages: Sequence[ChatMessage]) -> Any:
        turns = [{"role": message.role, "content": self._as_data(message.content)} for message in messages]
        with self._lock:
            return self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)

    def _as_data(self, text: str) -> str:
        for control in self._controls:
            if control in text:
                text = text.replace(control, f"{control[0]} {control[1:]}")
        return text


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    turns = [message for message in messages if message.role != "system"]
    if not system or not turns:
        return turns
    first = turns[0]
    if first.role != "user":
        return [ChatMessage("user", system), *turns]
    return [replace(first, content=f"{system}\n\n{first.content}"), *turns[1:]]
