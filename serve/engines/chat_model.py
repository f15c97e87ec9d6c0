"""Loads a language model for chat, or a vision-language one, from a folder or a hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.serve.engines.chat_template import ChatTemplate
from ragkit.serve.engines.vision_template import VisionTemplate
from ragkit.without_video import without_video

# SmolVLM's own processor does with images what Idefics3's does, and wants num2words and a part for videos.
_PROCESSOR_OF = {"smolvlm": "Idefics3Processor"}


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model with what prepares its input. ends: tokens that end a reply. max_tokens: 0 where it does not say."""

    model: Any
    tokenizer: Any
    template: ChatTemplate
    ends: frozenset[int]
    max_tokens: int
    reads_images: bool


def load_chat_model(path: str, name: str, placement: Placement, trust_remote_code: bool) -> ChatModel:
    """Load what is at `path` (a folder, or a name on a hub) and call it `name` in messages.

    Raises:
        ConfigError: the model cannot be loaded, or is not made for chat.
    """
    transformers = require("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        reads_images = _reads_images(config)
        processor = _PROCESSOR_OF.get(config.model_type, "AutoProcessor")
        kind = getattr(transformers, processor if reads_images else "AutoTokenizer")
        with without_video():
            reader = kind.from_pretrained(path, trust_remote_code=trust_remote_code)
        loader = transformers.AutoModelForImageTextToText if reads_images else transformers.AutoModelForCausalLM
        with quiet_loading():
            model = loader.from_pretrained(path, dtype=placement.torch_dtype, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"the language model {path!r} cannot be loaded: {error}. Give a folder with a causal or "
            "vision-language model, or a hub name that this machine can reach"
        ) from error
    tokenizer = reader.tokenizer if reads_images else reader
    ends = _end_tokens(model, tokenizer)
    _forget_sampling(model, tokenizer, ends)
    template = VisionTemplate(reader, name) if reads_images else ChatTemplate(reader, name)
    longest = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or 0)
    return ChatModel(model.to(placement.device).eval(), tokenizer, template, ends, longest, reads_images)


def _reads_images(config: Any) -> bool:
    """Whether transformers knows the model as one from images and text to text, and it has a vision part."""
    names = require("transformers.models.auto.modeling_auto").MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return config.model_type in names and getattr(config, "vision_config", None) is not None


def _forget_sampling(model: Any, tokenizer: Any, ends: frozenset[int]) -> None:
    """A model's own defaults (temperature, penalties) would make "temperature 0" mean something else."""
    own = model.generation_config
    model.generation_config = require("transformers").GenerationConfig(
        bos_token_id=own.bos_token_id,
        eos_token_id=sorted(ends) or None,
        pad_token_id=own.pad_token_id if own.pad_token_id is not None else tokenizer.eos_token_id,
    )


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)
