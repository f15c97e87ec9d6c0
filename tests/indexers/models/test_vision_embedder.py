"""Page embedders against transformers called by hand, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.vision_embedder import VisionEmbedder
from ragkit.indexers.models.vision_families import family_of
from ragkit.indexers.models.vision_inputs import VisionInputs
from ragkit.without_video import without_video
from tests.indexers.models import tiny_vision
from tests.indexers.models.tiny_vision import PAGES

CPU = Placement("cpu", "float32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    models = tmp_path_factory.mktemp("models")
    kinds = ("qwen2_vl", "qwen3_vl", "idefics3", "siglip", "clip")
    return {kind: getattr(tiny_vision, f"make_{kind}")(models / kind) for kind in kinds}


def processor_of(folder: Path):
    from transformers import AutoProcessor

    with without_video():
        return AutoProcessor.from_pretrained(folder)


def hidden_states(folder: Path, text: str, picture=None) -> np.ndarray:
    """Last hidden states of one input, (length, 32), by the whole model and a prompt written out."""
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    pictures = None if picture is None else [picture]
    inputs = processor_of(folder)(text=[text], images=pictures, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs, output_hidden_states=True).hidden_states[-1][0].numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_qwen2_vl_is_read_as_dse_was_trained(folders):
    from PIL import Image

    embedder = VisionEmbedder(str(folders["qwen2_vl"]), CPU)
    picture = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
    text = f"{picture}What is shown in this image?<|im_end|>\n<|endoftext|>"
    last = hidden_states(folders["qwen2_vl"], text, PAGES[1].image.load())[-1]
    np.testing.assert_allclose(embedder.embed_passages(PAGES[1:2])[0], unit(last), atol=1e-5)
    text = f"{picture}Query: How deep?<|im_end|>\n<|endoftext|>"
    last = hidden_states(folders["qwen2_vl"], text, Image.new("RGB", (56, 56), "white"))[-1]
    np.testing.assert_allclose(embedder.embed_queries(["How deep?"])[0], unit(last), atol=1e-5)


def test_qwen3_vl_gets_the_system_message_and_opens_the_models_turn(folders):
    embedder = VisionEmbedder(str(folders["qwen3_vl"]), CPU)
    text = (
        "<|im_start|>system\nRepresent the user's input.<|im_end|>\n"
        "<|im_start|>user\nHow deep?<|im_end|>\n<|im_start|>assistant\n"
    )
    last = hidden_states(folders["qwen3_vl"], text)[-1]
    np.testing.assert_allclose(embedder.embed_queries(["How deep?"])[0], unit(last), atol=1e-5)


@pytest.mark.parametrize("pooling", ["weighted-mean", "mean", "last"])
def test_idefics3_is_pooled_as_asked(folders, pooling: str):
    embedder = VisionEmbedder(str(folders["idefics3"]), CPU, pooling=pooling, passage_prompt="A page.")
    text = "<|im_start|>user\n<image>A page.<|im_end|>\n"
    hidden = hidden_states(folders["idefics3"], text, PAGES[2].image.load())
    shares = {
        "weighted-mean": np.arange(1, len(hidden) + 1),
        "mean": np.ones(len(hidden)),
        "last": np.eye(len(hidden))[-1],
    }
    expected = unit(shares[pooling] @ hidden)
    np.testing.assert_allclose(embedder.embed_passages(PAGES[2:3])[0], expected, atol=1e-5)


def test_the_default_of_a_decoder_is_visrags_instruction_and_weighted_mean(folders):
    embedder = VisionEmbedder(str(folders["idefics3"]), CPU)
    text = "Represent this query for retrieving relevant documents: How deep?"
    hidden = hidden_states(folders["idefics3"], f"<|im_start|>user\n{text}<|im_end|>\n")
    expected = unit(np.arange(1, len(hidden) + 1) @ hidden)
    np.testing.assert_allclose(embedder.embed_queries(["How deep?"])[0], expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "padding"), [("siglip", "max_length"), ("clip", False)])
def test_dual_encoders_give_their_projections(folders, kind: str, padding):
    from transformers import AutoModel

    embedder = VisionEmbedder(str(folders[kind]), CPU)
    processor, model = processor_of(folders[kind]), AutoModel.from_pretrained(folders[kind]).eval()
    pixels = processor.image_processor(PAGES[1].image.load(), return_tensors="pt")
    ids = processor.tokenizer(["How deep?"], padding=padding, max_length=16, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        image = model.get_image_features(**pixels).pooler_output[0].numpy()
        text = model.get_text_features(input_ids=ids).pooler_output[0].numpy()
    np.testing.assert_allclose(embedder.embed_passages(PAGES[1:2])[0], unit(image), atol=1e-5)
    np.testing.assert_allclose(embedder.embed_queries(["How deep?"])[0], unit(text), atol=1e-5)


def test_a_dual_encoder_cuts_a_long_question(folders):
    embedder = VisionEmbedder(str(folders["clip"]), CPU)
    long = embedder.embed_queries(["How deep is the harbour of the island?"])
    # 16 positions: 15 bytes of the text and its end.
    np.testing.assert_allclose(long, embedder.embed_queries(["How deep is the"]), atol=1e-6)


@pytest.mark.parametrize(("kind", "mark"), [("qwen2_vl", "<|image_pad|>"), ("idefics3", "<image>")])
def test_a_question_cannot_place_a_picture(folders, kind: str, mark: str):
    embedder = VisionEmbedder(str(folders[kind]), CPU)
    asked, plain = embedder.embed_queries([f"What does{mark}mean?", "What does mean?"])
    np.testing.assert_allclose(asked, plain, atol=1e-6)


def tokens_of_a_picture(folder: Path, kind: str, max_pixels: int) -> int:
    family = family_of(json.loads((folder / "config.json").read_text("utf-8")))
    inputs = VisionInputs(
        folder, family, query_prompt=None, passage_prompt="", max_pixels=max_pixels, trust_remote_code=False
    ).of_pages([tiny_vision.page(600, 800, 0).image.load()])
    mark = "<image>" if kind == "idefics3" else "<|image_pad|>"
    return int((inputs["input_ids"] == processor_of(folder).tokenizer.convert_tokens_to_ids(mark)).sum())


def test_max_pixels_bounds_what_the_model_sees(folders):
    # Qwen2-VL: a token stands for 28 x 28 pixels, and a page of 3:4 fits 12 tokens exactly.
    assert tokens_of_a_picture(folders["qwen2_vl"], "qwen2_vl", 12 * 28 * 28) == 12
    # The family's own limit, not the 64 tokens of the folder's image processor: 600 x 800 is rounded to 21 x 29.
    assert tokens_of_a_picture(folders["qwen2_vl"], "qwen2_vl", 0) == 21 * 29
    # Idefics3: four tokens a tile of 32 pixels; 64 x 64 pixels are 2 x 2 tiles and the whole page as one.
    assert tokens_of_a_picture(folders["idefics3"], "idefics3", 64 * 64) == 4 * 5
    assert tokens_of_a_picture(folders["idefics3"], "idefics3", 63 * 63) == 4


def test_other_decoders_get_smaller_pictures_before_their_processor(folders):
    from ragkit.indexers.models.picture_sizes import PictureSizes
    from ragkit.indexers.models.vision_families import OTHER_DECODER

    sizes = PictureSizes(OTHER_DECODER, None, 10_000)
    picture = PAGES[0].image.load()
    assert sizes.shrunk(picture.resize((100, 100))).size == (100, 100)
    assert sizes.shrunk(picture.resize((600, 800))).size == (86, 115)
    assert sizes.settings == {}


def test_strips_get_a_white_margin():
    from ragkit.indexers.models.pictures import load_pictures

    wide, tall, plain = load_pictures(
        [tiny_vision.page(900, 4, 0), tiny_vision.page(1, 101, 0), tiny_vision.page(4, 400, 0)], "tiny"
    )
    assert (wide.size, tall.size, plain.size) == ((900, 9), (2, 101), (4, 400))
    assert wide.crop((0, 4, 900, 9)).getextrema() == ((255, 255),) * 3
    assert wide.crop((0, 0, 900, 4)).tobytes() == tiny_vision.page(900, 4, 0).image.load().tobytes()


def test_prompts_pooling_and_sizes_change_the_fingerprint_and_precision_does_not(folders):
    name = str(folders["idefics3"])
    own = VisionEmbedder(name, CPU).fingerprint
    changed = ({"pooling": "mean"}, {"query_prompt": "?"}, {"passage_prompt": "!"}, {"max_pixels": 4096})
    others = [VisionEmbedder(name, CPU, **settings).fingerprint for settings in changed]
    assert len({own, *others}) == 5
    assert VisionEmbedder(name, Placement("cpu", "bfloat16"), batch_pages=4).fingerprint == own


def test_bfloat16_stays_near(folders):
    for kind, folder in folders.items():
        exact, short = (VisionEmbedder(str(folder), Placement("cpu", dtype)) for dtype in ("float32", "bfloat16"))
        rows = exact.embed_passages(PAGES) * short.embed_passages(PAGES)
        assert rows.sum(axis=1).min() > 0.99, kind


def test_what_does_not_fit_is_said(folders, tmp_path: Path):
    with pytest.raises(ConfigError, match="'clip' make every picture one size"):
        VisionEmbedder(str(folders["clip"]), CPU, max_pixels=1000)
    with pytest.raises(ConfigError, match="dual encoder: it has no tokens to pool"):
        VisionEmbedder(str(folders["siglip"]), CPU, pooling="mean")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "bert"}', "utf-8")
    with pytest.raises(ConfigError, match=r"model_type 'bert'\) reads no pictures"):
        VisionEmbedder(str(tmp_path / "text"), CPU)
    (tmp_path / "text" / "config.json").write_text('{"architectures": ["ColPaliForRetrieval"]}', "utf-8")
    with pytest.raises(ConfigError, match=r"set it as \[late_interaction\] name"):
        VisionEmbedder(str(tmp_path / "text"), CPU)


def test_a_checkpoint_without_some_weights_is_refused(folders, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "damaged"
    shutil.copytree(folders["idefics3"], folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.vision_model.embeddings.patch_embedding.weight"], weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 1 tensors .*patch_embedding.weight"):
        VisionEmbedder(str(folder), CPU)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        VisionEmbedder(str(folder), CPU)
