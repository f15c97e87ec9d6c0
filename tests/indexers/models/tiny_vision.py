"""Random vision-language models of a few kilobytes, saved with tokenizer and processor, one maker a family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.records import PageImage, Passage

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_MARKS = "<|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|image_pad|> <|video_pad|>".split()
QWEN_TEMPLATE = TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
IDEFICS_MARKS = ["<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<global-img>"]
IDEFICS_MARKS += ["<end_of_utterance>", *(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))]


def page(width: int, height: int, seed: int, key: int = -1) -> Passage:
    """A passage whose picture is noise in large squares."""
    from PIL import Image

    squares = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)
    picture = Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST)
    image = PageImage("doc.pdf", seed + 1, width, height, lambda: picture)
    return Passage(key, "doc.pdf", seed + 1, 0, 0, "", image=image)


PAGES = [page(90, 120, 0), page(120, 90, 1), page(60, 200, 2), page(90, 120, 3), page(33, 47, 4)]


def make_tokenizer(marks: list[str], *, ends: bool = False) -> Any:
    """One token a byte, and the marks; with `ends` every text ends with <|endoftext|>, as CLIP's do."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = ["<|endoftext|>", *marks, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(known)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if ends:
        end = ("<|endoftext|>", 0)
        core.post_processor = processors.TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        additional_special_tokens=marks,
        model_max_length=4096,
    )


def make_qwen2_vl(folder: Path) -> Path:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = make_tokenizer(QWEN_MARKS)
    config = Qwen2VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": _rope([1, 1, 2])},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2},
        **_qwen_ids(tokenizer),
    )
    return _save_qwen(folder, "Qwen2VL", Qwen2VLForConditionalGeneration(config), tokenizer, 14)


def make_qwen3_vl(folder: Path) -> Path:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = make_tokenizer(QWEN_MARKS)
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 32}
    config = Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "rope_parameters": _rope([2, 1, 1])},
        vision_config={**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        **_qwen_ids(tokenizer),
    )
    return _save_qwen(folder, "Qwen3VL", Qwen3VLForConditionalGeneration(config), tokenizer, 16)


def make_st_qwen3_vl(folder: Path) -> Path:
    """As Qwen3-VL-Embedding is: last token, prompts as system messages, in sentence-transformers' form."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from ragkit.without_video import without_video

    make_qwen3_vl(folder)
    prompts = {"query": "Find the page.", "document": "Represent the page."}
    with without_video():
        modules = [Transformer(str(folder)), Pooling(32, pooling_mode="lasttoken"), Normalize()]
        model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
        model.save(str(folder), create_model_card=False)
    return folder


def make_idefics3(folder: Path) -> Path:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    return _save_idefics(folder, Idefics3Config, Idefics3ForConditionalGeneration)


def make_smolvlm(folder: Path) -> Path:
    """As the hub has it: the processor names its class with a part for videos."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    _save_idefics(folder, SmolVLMConfig, SmolVLMForConditionalGeneration)
    settings = json.loads((folder / "processor_config.json").read_text("utf-8"))
    settings["processor_class"] = "SmolVLMProcessor"
    (folder / "processor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def make_siglip(folder: Path) -> Path:
    from transformers import SiglipConfig, SiglipModel, SiglipProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return _save_towers(folder, SiglipConfig, SiglipModel, SiglipProcessor, SiglipImageProcessorPil)


def make_clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return _save_towers(folder, CLIPConfig, CLIPModel, CLIPProcessor, CLIPImageProcessorPil)


def _rope(sections: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    marks = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    marks |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()}


def _save_qwen(folder: Path, prefix: str, model: Any, tokenizer: Any, patch: int) -> Path:
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from ragkit.without_video import without_video

    images = Qwen2VLImageProcessorPil(
        patch_size=patch, size={"shortest_edge": 4 * (2 * patch) ** 2, "longest_edge": 64 * (2 * patch) ** 2}
    )
    with without_video():
        processor = getattr(transformers, f"{prefix}Processor")(images, tokenizer, chat_template=QWEN_TEMPLATE)
        return _save(folder, model, processor)


def _save_idefics(folder: Path, config_class: Any, model_class: Any) -> Path:
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = make_tokenizer(IDEFICS_MARKS)
    config = config_class(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
        text_config={**TEXT, "model_type": "llama", "vocab_size": len(tokenizer)},
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    template = TEMPLATE.replace("IMAGE", "<image>")
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template)
    return _save(folder, model_class(config), processor)


def _save_towers(folder: Path, config_class: Any, model_class: Any, processor_class: Any, images: Any) -> Path:
    tokenizer = make_tokenizer([], ends=True)
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    config = config_class(text_config=text, vision_config={**VISION, "image_size": 32, "patch_size": 8})
    square = {"height": 32, "width": 32}
    return _save(folder, model_class(config), processor_class(images(size=square, crop_size=square), tokenizer))


def _save(folder: Path, model: Any, processor: Any) -> Path:
    import torch

    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        # Larger than the models' own: vectors of different inputs must differ by more than rounding.
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_colqwen2(folder: Path) -> Path:
    from transformers import ColQwen2Config, ColQwen2ForRetrieval, ColQwen2Processor, Qwen2VLConfig
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = make_tokenizer(QWEN_MARKS)
    vlm = Qwen2VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": _rope([1, 1, 2])},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2},
        **_qwen_ids(tokenizer),
    )
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 4 * 28**2, "longest_edge": 64 * 28**2})
    model = ColQwen2ForRetrieval(ColQwen2Config(vlm_config=vlm, embedding_dim=16))
    return _save(folder, model, ColQwen2Processor(images, tokenizer))


def make_colpali(folder: Path) -> Path:
    from transformers import ColPaliConfig, ColPaliForRetrieval, ColPaliProcessor, PaliGemmaConfig
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tokenizer = make_tokenizer(["<image>", "<bos>"])
    tokenizer.bos_token = "<bos>"
    vlm = PaliGemmaConfig(
        text_config={**TEXT, "model_type": "gemma", "vocab_size": len(tokenizer), "head_dim": 8},
        vision_config={**VISION, "image_size": 32, "patch_size": 8, "projection_dim": 32},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
    )
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=16))
    return _save(folder, model, ColPaliProcessor(images, tokenizer))


def make_colmodernvbert(folder: Path) -> Path:
    from transformers import (
        ColModernVBertConfig,
        ColModernVBertForRetrieval,
        ColModernVBertProcessor,
        ModernVBertConfig,
    )
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = make_tokenizer(IDEFICS_MARKS)
    text = {name: TEXT[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")}
    text |= {"num_attention_heads": 4, "vocab_size": len(tokenizer), "pad_token_id": 0}
    vlm = ModernVBertConfig(
        text_config={**text, "model_type": "modernbert"},
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pixel_shuffle_factor=2,
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    model = ColModernVBertForRetrieval(ColModernVBertConfig(vlm_config=vlm, embedding_dim=16))
    return _save(folder, model, ColModernVBertProcessor(images, tokenizer, image_seq_len=4))
