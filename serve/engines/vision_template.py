"""A conversation with images as what a vision-language model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragkit.records import ChatMessage
from ragkit.serve.engines.chat_template import ChatTemplate


class VisionTemplate(ChatTemplate):
    """Applies a processor's chat template; a message's images stand before its text."""

    def __init__(self, processor: Any, name: str) -> None:
        self._processor = processor
        self._tokens_of_size: dict[tuple[int, int], int] = {}
        super().__init__(processor.tokenizer, name)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the conversation; images of one size have the same number, and are counted once."""
        listed = self._listed(messages)
        text_alone = [ChatMessage(message.role, message.content) for message in listed]
        images = [image for message in listed for image in message.images]
        return len(self._apply(text_alone)["input_ids"][0]) + sum(map(self._tokens_of, images))

    def inputs(self, messages: Sequence[ChatMessage]) -> Any:
        """What the model's forward takes: tensors by name, among them input_ids int64 (1, tokens)."""
        return self._apply(self._listed(messages), return_tensors="pt")

    @property
    def _template(self) -> Any:
        return self._processor.chat_template or self._tokenizer.chat_template

    def _control_tokens(self) -> set[str]:
        own = (getattr(self._processor, f"{kind}_token", None) for kind in ("image", "video", "audio"))
        return super()._control_tokens() | {token for token in own if isinstance(token, str) and token}

    def _tokens_of(self, image: Any) -> int:
        if image.size not in self._tokens_of_size:
            with_image = self._apply([ChatMessage("user", "a", (image,))])["input_ids"][0]
            without = self._apply([ChatMessage("user", "a")])["input_ids"][0]
            self._tokens_of_size[image.size] = len(with_image) - len(without)
        return self._tokens_of_size[image.size]

    def _apply(self, messages: Sequence[ChatMessage], **tensors: str) -> Any:
        turns = [{"role": message.role, "content": self._parts(message)} for message in messages]
        with self._lock:
            return self._processor.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=True, return_dict=True, **tensors
            )

    def _parts(self, message: ChatMessage) -> list[dict[str, Any]]:
        images = [{"type": "image", "image": image} for image in message.images]
        return [*images, {"type": "text", "text": self._as_data(message.content)}]
