"""Checkpoints of VisRAG-Ret that are whole, cut up, incomplete or of another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.visrag_checkpoint import read_config, read_tensors
from ragkit.indexers.models.visrag_config import is_visrag, parse_config
from ragkit.indexers.models.visrag_model import VisragModel
from ragkit.indexers.models.visrag_tokens import VisragTokenizer
from tests.indexers.models.tiny_visrag import GOLDEN, copy_checkpoint, read

torch = pytest.importorskip("torch")
pytest.importorskip("sentencepiece")
safetensors_torch = pytest.importorskip("safetensors.torch")

CPU = Placement("cpu", "float32")
WANTED = {"a.weight": (2, 3), "b.weight": (4,)}


def save(path: Path, **shapes: tuple[int, ...]) -> None:
    tensors = {name.replace("_", "."): torch.full(shape, 0.5) for name, shape in shapes.items()}
    safetensors_torch.save_file(tensors, path)


def test_one_file_is_read_into_the_dtype(tmp_path: Path):
    save(tmp_path / "model.safetensors", a_weight=(2, 3), b_weight=(4,))
    tensors = read_tensors(tmp_path, WANTED, Placement("cpu", "bfloat16"))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == WANTED
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert float(tensors["b.weight"].sum()) == 2


def test_several_files_are_read_by_their_index(tmp_path: Path):
    save(tmp_path / "one.safetensors", a_weight=(2, 3))
    save(tmp_path / "two.safetensors", b_weight=(4,))
    weight_map = {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert set(read_tensors(tmp_path, WANTED, CPU)) == set(WANTED)
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(ConfigError, match="lacks two.safetensors"):
        read_tensors(tmp_path, WANTED, CPU)


def test_missing_unexpected_and_reshaped_tensors_are_named_with_both_shapes(tmp_path: Path):
    save(tmp_path / "model.safetensors", b_weight=(5,), c_weight=(1,))
    with pytest.raises(ConfigError) as error:
        read_tensors(tmp_path, WANTED, CPU)
    message = str(error.value)
    assert "missing tensors (1): a.weight" in message
    assert "unexpected tensors (1): c.weight" in message
    assert "tensors of the wrong shape (1): b.weight is [5], expected [4]" in message


def test_of_many_missing_tensors_some_are_named(tmp_path: Path):
    save(tmp_path / "model.safetensors", a_weight=(2, 3))
    wanted = {"a.weight": (2, 3), **{f"layers.{i}": (1,) for i in range(20)}}
    with pytest.raises(ConfigError, match=r"missing tensors \(20\): layers\.0, .*layers\.7 and 12 more"):
        read_tensors(tmp_path, wanted, CPU)


def test_what_embedding_does_not_need_may_be_there(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    tensors = {"a.weight": torch.ones(2, 3), "b.weight": torch.ones(4), "llm.lm_head.weight": torch.ones(9)}
    safetensors_torch.save_file(tensors, path)
    assert set(read_tensors(tmp_path, WANTED, CPU)) == set(WANTED)


def test_pickles_are_refused_with_the_way_to_convert_them(tmp_path: Path):
    (tmp_path / "pytorch_model-00001-of-00002.bin").touch()
    with pytest.raises(ConfigError, match="pytorch_model-00001-of-00002.bin.*safetensors.torch.save_file"):
        read_tensors(tmp_path, WANTED, CPU)


def test_a_folder_without_weights_and_a_damaged_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds neither model.safetensors nor"):
        read_tensors(tmp_path, WANTED, CPU)
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="is damaged"):
        read_tensors(tmp_path, WANTED, CPU)


def test_a_checkpoint_with_a_file_of_another_model_says_which_tensors(tmp_path: Path):
    folder = copy_checkpoint(tmp_path)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shard = folder / index["weight_map"]["vpm.norm.bias"]
    tensors = safetensors_torch.load_file(shard)
    tensors.pop("vpm.norm.bias")
    safetensors_torch.save_file({**tensors, "vpm.norm.beta": torch.ones(1)}, shard)
    with pytest.raises(
        ConfigError, match=r"missing tensors \(1\): vpm\.norm\.bias; unexpected tensors \(1\): vpm\.norm\.beta"
    ):
        VisragModel(folder, CPU)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": ["VisRAG_Ret"]}, True),
        ({"auto_map": {"AutoModel": "modeling_visrag_ret.VisRAG_Ret"}}, True),
        ({"model_type": "minicpmv", "scale_emb": 12, "scale_depth": 1.4, "vision_encoder": "vit"}, True),
        ({"model_type": "minicpmv", "version": 2.6, "vision_config": {}}, False),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, False),
        ({"architectures": None, "auto_map": None}, False),
        ({}, False),
    ],
)
def test_is_visrag(config: dict[str, Any], expected: bool):
    assert is_visrag(config) is expected


def test_the_real_model_has_27_blocks_less_one_and_3_43_billion_parameters():
    """Sizes of openbmb/VisRAG-Ret (the paper states 3.43 B), from its config.json alone, without weights."""
    tiny = read("model/config.json")
    tiny.pop("golden_vision")
    sizes = {"hidden_size": 2304, "intermediate_size": 5760, "num_hidden_layers": 40, "vocab_size": 122753}
    heads = {"num_attention_heads": 36, "num_key_value_heads": 36}
    config = parse_config(
        {**tiny, **sizes, **heads, "vision_encoder": "vit_so400m_patch14_siglip_384.webli"}, "config.json"
    )
    assert (config.vision.depth, config.vision.hidden, config.vision.table_side) == (26, 4304, 27)
    from ragkit.indexers.models.visrag_decoder import Decoder
    from ragkit.indexers.models.visrag_resampler import Resampler
    from ragkit.indexers.models.visrag_vision import VisionTower

    parts = (VisionTower(config.vision), Resampler(64, config.dim, 1152), Decoder(config.decoder))
    shapes = [shape for part in parts for shape in part.shapes().values()]
    parameters = sum(int(torch.Size(shape).numel()) for shape in shapes)
    output_head = 2304 * 122753
    assert round((parameters + output_head) / 1e9, 2) == pytest.approx(3.43, abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_depth": None}, "lacks scale_depth"),
        ({"vision_encoder": "vit_other", "golden_vision": None}, "vision_encoder 'vit_other' is not known"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling .* is not supported"),
        (
            {"architectures": ["Other"], "model_type": "other"},
            r"\['Other'\].*expected architectures \['VisRAG_Ret'\]",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        parse_config({**read("model/config.json"), **change}, "config.json")


def test_a_missing_or_damaged_config(tmp_path: Path):
    with pytest.raises(ConfigError, match="config.json is missing"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected a JSON object"):
        read_config(tmp_path)


def test_a_missing_or_wrong_tokenizer(tmp_path: Path):
    with pytest.raises(ConfigError, match="tokenizer_config.json is missing"):
        VisragTokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="tokenizer.model is missing or empty"):
        VisragTokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"garbage")
    with pytest.raises(ConfigError, match="no sentencepiece model"):
        VisragTokenizer(tmp_path)


def test_a_tokenizer_that_leaves_the_wrong_number_of_places():
    tokenizer = VisragTokenizer(GOLDEN / "tokenizer")
    with pytest.raises(ConfigError, match="leaves 2 places for an image of 64 tokens"):
        tokenizer.image_slots(tokenizer.encode("<image><unk><unk></image>"), 64)
    with pytest.raises(ConfigError, match="do not pair"):
        tokenizer.image_slots(tokenizer.encode("<image><unk><unk>"), 2)


def test_older_checkpoints_keep_special_tokens_in_other_files(tmp_path: Path):
    settings = json.loads((GOLDEN / "tokenizer" / "tokenizer_config.json").read_text())
    settings.pop("added_tokens_decoder")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer.model").write_bytes((GOLDEN / "tokenizer" / "tokenizer.model").read_bytes())
    text = read("expected/docs.json")[2]["prompt"]
    assert VisragTokenizer(tmp_path).encode(text) == VisragTokenizer(GOLDEN / "tokenizer").encode(text)
