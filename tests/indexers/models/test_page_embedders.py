"""Which embedder a name stands for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import PageEmbedderConfig
from ragkit.errors import ConfigError
from ragkit.indexers.models.page_embedders import make_page_embedder, reads_images
from ragkit.indexers.models.st_vision_embedder import StVisionEmbedder
from ragkit.indexers.models.vision_embedder import VisionEmbedder
from tests.indexers.models import tiny_vision

TRANSFORMER = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]
QWEN = {"model_type": "qwen3_vl", "vision_config": {}}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, False),
        ({"config.json": {"model_type": "bert"}}, False),
        ({"config.json": {"model_type": "siglip_vision_model"}}, False),
        ({"config.json": {"model_type": "siglip"}}, True),
        ({"config.json": {"model_type": "some_new_vlm", "vision_config": {}}}, True),
        ({"config.json": {"architectures": ["VisRAG_Ret"], "model_type": "minicpmv"}}, True),
        ({"config.json": {"architectures": ["ColPaliForRetrieval"], "model_type": "colpali"}}, True),
        ({"config.json": {"model_type": "bert"}, "modules.json": TRANSFORMER}, False),
        # Written when sentence-transformers read text alone: so it is read still.
        ({"config.json": QWEN, "modules.json": TRANSFORMER}, False),
        (
            {
                "config.json": QWEN,
                "modules.json": TRANSFORMER,
                "sentence_bert_config.json": {"modality_config": {"text": {}, "message": {}}},
            },
            True,
        ),
        (
            {
                "config.json": {"model_type": "bert"},
                "modules.json": TRANSFORMER,
                "sentence_bert_config.json": {"modality_config": {"text": {}}},
            },
            False,
        ),
        ({"modules.json": [{"idx": 0, "path": "0_CLIP", "type": "sentence_transformers.models.CLIPModel"}]}, True),
    ],
)
def test_a_folders_files_say_whether_it_reads_pictures(tmp_path: Path, files: dict[str, Any], expected: bool):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), "utf-8")
    assert reads_images(str(tmp_path)) is expected


@pytest.mark.parametrize("name", ["", "none", "all-MiniLM-L6-v2", "no-such-model", "no/such", "a b", "a/b/c"])
def test_a_name_of_which_nothing_is_known_reads_no_pictures(name: str):
    assert reads_images(name) is False


def test_asking_loads_no_torch():
    program = (
        "import sys; from ragkit.indexers.models.page_embedders import reads_images; reads_images('no/such');"
        " sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(ConfigError, match=r"config.json of .* is not valid JSON"):
        reads_images(str(tmp_path))


def test_the_folder_decides_the_class(tmp_path: Path):
    plain = str(tiny_vision.make_idefics3(tmp_path / "plain"))
    embedder = make_page_embedder(PageEmbedderConfig(name=plain, device="cpu", dtype="float32", pooling="mean"))
    assert isinstance(embedder, VisionEmbedder)
    st = str(tiny_vision.make_st_qwen3_vl(tmp_path / "st"))
    embedder = make_page_embedder(PageEmbedderConfig(name=st, device="cpu", dtype="float32"))
    assert isinstance(embedder, StVisionEmbedder)
    with pytest.raises(ConfigError, match=r"page_embedder.pooling = 'mean' changes nothing"):
        make_page_embedder(PageEmbedderConfig(name=st, device="cpu", pooling="mean"))


def test_a_model_that_cannot_be_had_or_fits_another_setting_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'no/such' is no model that embeds pictures"):
        make_page_embedder(PageEmbedderConfig(name="no/such"))
    (tmp_path / "config.json").write_text('{"architectures": ["ColQwen2ForRetrieval"]}', "utf-8")
    with pytest.raises(ConfigError, match=r"set it as \[late_interaction\] name"):
        make_page_embedder(PageEmbedderConfig(name=str(tmp_path), device="cpu"))
