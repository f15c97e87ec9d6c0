"""What a VisRAG-Ret checkpoint's config.json says about the model's sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragkit.errors import ConfigError
from ragkit.indexers.models.visrag_slicing import SliceRule


@dataclass(frozen=True, slots=True)
class VisionShape:
    """depth: blocks that are kept. table_side: the learned position table has table_side² rows."""

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    table_side: int


# What timm, where the tower comes from, calls it; without a suffix such as ".webli".
_TOWERS: dict[str, dict[str, Any]] = {
    "vit_so400m_patch14_siglip_384": {
        "embed_dim": 1152,
        "depth": 27,
        "num_heads": 16,
        "mlp_ratio": 3.7362,
        "patch_size": 14,
        "img_size": 384,
    },
}


@dataclass(frozen=True, slots=True)
class VisragConfig:
    """decoder: the fields of the language model, under the names of its config.json."""

    vision: VisionShape
    slices: SliceRule
    num_queries: int
    decoder: Mapping[str, Any]

    @property
    def dim(self) -> int:
        return int(self.decoder["hidden_size"])


_DECODER_FIELDS = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads max_position_embeddings "
    "rms_norm_eps scale_emb scale_depth"
).split()


def is_visrag(config: Mapping[str, Any]) -> bool:
    """Whether a config.json describes VisRAG-Ret: by architecture or auto_map, or a MiniCPM-V 2.0 underneath."""
    names = [*(config.get("architectures") or ()), *_flat(config.get("auto_map") or {})]
    if any("visrag_ret" in name.lower() for name in names):
        return True
    # MiniCPM-V 2.5 and later share the model_type, but have other parts.
    return config.get("model_type") == "minicpmv" and {"scale_emb", "scale_depth", "vision_encoder"} <= set(config)


def parse_config(config: Mapping[str, Any], origin: str) -> VisragConfig:
    """Read config.json's content; `origin` names it in errors.

    Raises:
        ConfigError: it is not VisRAG-Ret's, or a field is missing or not supported.
    """
    if not is_visrag(config):
        raise ConfigError(
            f"{origin} is not VisRAG-Ret's: architectures {config.get('architectures')}, "
            f"model_type {config.get('model_type')!r}; expected architectures ['VisRAG_Ret']"
        )
    missing = [name for name in (*_DECODER_FIELDS, "vision_encoder") if config.get(name) is None]
    if missing:
        raise ConfigError(f"{origin} lacks {', '.join(missing)}; take the config.json of the checkpoint")
    if config.get("rope_scaling"):
        raise ConfigError(f"{origin}: rope_scaling {config['rope_scaling']} is not supported; expected null")
    rule = SliceRule(
        int(config.get("max_slice_nums", 9)) if config.get("slice_mode", True) else 1,
        int(config.get("scale_resolution", 448)),
        int(config.get("patch_size", 14)),
    )
    decoder = {name: config[name] for name in _DECODER_FIELDS}
    # Where a checkpoint leaves these out, MiniCPM's own defaults hold.
    decoder["num_key_value_heads"] = config.get("num_key_value_heads") or config["num_attention_heads"]
    decoder["hidden_act"] = config.get("hidden_act", "silu")
    decoder["rope_theta"] = float(config.get("rope_theta", 10000.0))
    vision = _vision_shape(config, origin)
    if vision.patch != rule.patch:
        raise ConfigError(f"{origin}: patch_size {rule.patch} beside a vision tower of patches of {vision.patch}")
    return VisragConfig(vision, rule, int(config.get("query_num", 64)), decoder)


def _vision_shape(config: Mapping[str, Any], origin: str) -> VisionShape:
    name = str(config["vision_encoder"]).partition(".")[0]
    # Small checkpoints made for tests describe a tower of their own.
    facts = _TOWERS.get(name) or config.get("golden_vision")
    if not isinstance(facts, Mapping):
        raise ConfigError(f"{origin}: vision_encoder {name!r} is not known; known: {', '.join(_TOWERS)}")
    width, patch = int(facts["embed_dim"]), int(facts["patch_size"])
    return VisionShape(
        width=width,
        depth=int(facts["depth"]) - bool(config.get("drop_vision_last_layer", True)),
        heads=int(facts["num_heads"]),
        hidden=int(width * facts["mlp_ratio"]),
        patch=patch,
        table_side=int(facts["img_size"]) // patch,
    )


def _flat(auto_map: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in auto_map.values()]
