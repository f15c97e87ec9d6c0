"""What differs between families of vision-language models when they embed pages: data, one row a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# VisRAG's (arXiv 2410.10594), which was tried on decoders that were not trained for retrieval, too.
_INSTRUCTION = "Represent this query for retrieving relevant documents: "


@dataclass(frozen=True, slots=True)
class VisionFamily:
    """One row. A prompt is framed by the model's own chat template, which comes with its processor.

    towers: 1 for a decoder that reads pictures among its tokens and whose last hidden states are pooled,
    2 for a dual encoder, which has a projection for texts and one for images.
    query_prompt stands before the question, passage_prompt after the picture. system: the system message;
    "" leaves it to the chat template. generation_prompt: whether the frame ends by opening the model's turn.
    suffix: what follows the frame. query_image_side: a white square of so many pixels stands before every
    question, for models trained that way; 0 for none.
    resize: how `max_pixels` is kept. "pixels": the image processor takes a number of pixels; "side": it
    takes the longest side, and cuts the picture into tiles; "before": the picture is made smaller before
    the processor sees it; "fixed": it makes every picture one size. max_pixels 0: the processor's own limit.
    processor: the processor's class, where the one the model names needs libraries for videos.
    pad_texts: whether every text is padded to the model's length, and the padding read.
    """

    model_types: tuple[str, ...]
    towers: Literal[1, 2] = 1
    pooling: Literal["weighted-mean", "mean", "last"] = "weighted-mean"
    query_prompt: str = _INSTRUCTION
    passage_prompt: str = ""
    system: str = ""
    generation_prompt: bool = False
    suffix: str = ""
    query_image_side: int = 0
    resize: Literal["pixels", "side", "before", "fixed"] = "before"
    max_pixels: int = 0
    processor: str = ""
    pad_texts: bool = False


# Any decoder that transformers gives as an AutoModelForImageTextToText.
OTHER_DECODER = VisionFamily(())

FAMILIES = (
    # DSE and its relatives (arXiv 2406.11251): last token, a text that ends the sequence, a blank picture
    # before every question, 768 squares of 28 pixels a page.
    VisionFamily(
        ("qwen2_vl",),
        pooling="last",
        query_prompt="Query: ",
        passage_prompt="What is shown in this image?",
        suffix="<|endoftext|>",
        query_image_side=56,
        resize="pixels",
        max_pixels=768 * 28 * 28,
    ),
    VisionFamily(("qwen2_5_vl",), resize="pixels", max_pixels=768 * 28 * 28),
    # Qwen3-VL-Embedding, where its folder is not in sentence-transformers' form.
    VisionFamily(
        ("qwen3_vl", "qwen3_vl_moe"),
        pooling="last",
        query_prompt="",
        system="Represent the user's input.",
        generation_prompt=True,
        resize="pixels",
        max_pixels=1800 * 32 * 32,
    ),
    VisionFamily(("idefics3",), resize="side"),
    # The same pictures as Idefics3; its own processor does not load without the libraries for videos.
    VisionFamily(("smolvlm",), resize="side", processor="Idefics3Processor"),
    # SigLIP (arXiv 2303.15343) was trained on texts padded to its length, and takes the last position.
    VisionFamily(("siglip",), towers=2, query_prompt="", resize="fixed", pad_texts=True),
    VisionFamily(("clip",), towers=2, query_prompt="", resize="fixed"),
)


def family_of(config: Mapping[str, Any]) -> VisionFamily | None:
    """The row for a model's config.json; None where the model reads no pictures beside texts."""
    model_type = config.get("model_type")
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    # A text model has no vision part, a vision model alone no text part.
    return OTHER_DECODER if "vision_config" in config else None


def is_late_interaction(config: Mapping[str, Any]) -> bool:
    """Whether the model gives a vector a token (ColPali, ColQwen2, ColModernVBERT), not one a page."""
    return any(str(name).endswith("ForRetrieval") for name in config.get("architectures") or ())
