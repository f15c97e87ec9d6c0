"""Pages and questions as the tensors that a vision-language model reads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.devices import quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.models.control_tokens import without_control_tokens
from ragkit.indexers.models.picture_sizes import PictureSizes
from ragkit.indexers.models.vision_families import VisionFamily
from ragkit.without_video import without_video

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class VisionInputs:
    """A model's processor, with the prompts and picture sizes that its family wants."""

    def __init__(
        self,
        folder: Path,
        family: VisionFamily,
        *,
        query_prompt: str | None,
        passage_prompt: str | None,
        max_pixels: int,
        trust_remote_code: bool,
    ) -> None:
        """Load the processor, not the model.

        Raises:
            ConfigError: the processor cannot be loaded, or `max_pixels` is given for a family whose
                pictures all get one size.
        """
        self.family = family
        self.query_prompt = family.query_prompt if query_prompt is None else query_prompt
        self.passage_prompt = family.passage_prompt if passage_prompt is None else passage_prompt
        self._processor = _load(folder, family, trust_remote_code)
        self._tokenizer = self._processor.tokenizer
        self._max_pixels = max_pixels or family.max_pixels
        self._sizes = PictureSizes(family, self._processor.image_processor, self._max_pixels)
        # Tokenizers are set to pad and cut at every call, which two threads must not do at once.
        self._preparing = threading.Lock()

    @property
    def facts(self) -> list[Any]:
        """Everything that decides what the model reads, beside the files of its folder."""
        template = getattr(self._processor, "chat_template", None)
        family = self.family
        frame = [family.system, family.generation_prompt, family.suffix, family.query_image_side]
        return [self.query_prompt, self.passage_prompt, frame, self._max_pixels, template]

    def of_pages(self, images: Sequence[Image]) -> dict[str, Tensor]:
        """Padded on the right; "attention_mask" int64 (len(images), longest) says where."""
        pictures = [self._sizes.shrunk(image) for image in images]
        if self.family.towers == 2:
            return dict(self._processor.image_processor(pictures, return_tensors="pt"))
        return self._with_pictures([self._framed(self.passage_prompt, with_image=True)] * len(images), pictures)

    def of_queries(self, texts: Sequence[str], max_tokens: int) -> dict[str, Tensor]:
        """As `of_pages`; two towers cut a text at `max_tokens`."""
        if self.family.towers == 2:
            return self._of_text_tower([self.query_prompt + text for text in texts], max_tokens)
        side = self.family.query_image_side
        framed = [
            self._framed(self.query_prompt + without_control_tokens(text, self._processor), with_image=side > 0)
            for text in texts
        ]
        if side:
            from PIL import Image as PillowImage

            blank = PillowImage.new("RGB", (side, side), "white")
            return self._with_pictures(framed, [blank] * len(texts))
        with self._preparing:
            return dict(self._tokenizer(framed, return_tensors="pt", **self._text_settings(framed)))

    def _of_text_tower(self, texts: list[str], max_tokens: int) -> dict[str, Tensor]:
        with self._preparing:
            tensors = self._tokenizer(
                texts,
                padding="max_length" if self.family.pad_texts else True,
                padding_side="right",
                truncation=True,
                max_length=max_tokens,
                return_tensors="pt",
            )
        wanted = ["input_ids"] if self.family.pad_texts else ["input_ids", "attention_mask"]
        return {name: tensors[name] for name in wanted}

    def _with_pictures(self, framed: list[str], pictures: Sequence[Image]) -> dict[str, Tensor]:
        with self._preparing:
            tensors: Mapping[str, Tensor] = self._processor(
                text=framed,
                images=[[picture] for picture in pictures],
                text_kwargs=self._text_settings(framed),
                images_kwargs=self._sizes.settings,
                common_kwargs={"return_tensors": "pt"},
            )
        return dict(tensors)

    def _text_settings(self, framed: Sequence[str]) -> dict[str, Any]:
        # Padding on the right leaves positions and causal attention as they are for a text alone.
        settings: dict[str, Any] = {"padding": True, "padding_side": "right"}
        first: str | None = self._tokenizer.bos_token
        if first and framed and framed[0].startswith(first):
            settings["add_special_tokens"] = False
        return settings

    def _framed(self, text: str, *, with_image: bool) -> str:
        """The text, after its picture, in the model's chat template; a model without one gets them bare."""
        if not getattr(self._processor, "chat_template", None):
            mark: str = self._processor.image_token if with_image else ""
            return mark + text + self.family.suffix
        content = [{"type": "image"}] * with_image + [{"type": "text", "text": text}] * bool(text)
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.family.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self.family.system}]})
        rendered: str = self._processor.apply_chat_template(
            messages, add_generation_prompt=self.family.generation_prompt, tokenize=False
        )
        return rendered + self.family.suffix


def _load(folder: Path, family: VisionFamily, trust_remote_code: bool) -> Any:
    loader = getattr(require("transformers"), family.processor or "AutoProcessor")
    try:
        with quiet_loading(), without_video():
            return loader.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"the processor of {str(folder)!r} cannot be loaded: {error}") from error
