"""Which embedder of page images a model needs, told from its configuration files alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ragkit.config import PageEmbedderConfig
from ragkit.devices import choose_placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.model_files import read_model_file
from ragkit.indexers.models.text_embedder import PACKAGED_MODEL
from ragkit.indexers.models.vision_families import family_of, is_late_interaction
from ragkit.indexers.models.visrag_config import is_visrag
from ragkit.protocols import Embedder


def reads_images(name: str) -> bool:
    """Whether the model of this name embeds pictures: a folder, or a hub name whose files are to be had.

    Reads configuration files, no weights; a name of which nothing can be learnt gives False.

    Raises:
        ConfigError: one of these files is damaged.
    """
    if not name or name == PACKAGED_MODEL:
        return False
    config = read_model_file(name, "config.json")
    if config is not None and is_visrag(config):
        return True
    if read_model_file(name, "modules.json") is not None:
        return _st_reads_images(name, config or {})
    # A late-interaction model does too; what is wrong with it here is said when it is loaded.
    return config is not None and (family_of(config) is not None or is_late_interaction(config))


def make_page_embedder(settings: PageEmbedderConfig) -> Embedder:
    """The embedder of the configuration, its model loaded.

    Raises:
        ConfigError: the model cannot be had, embeds no pictures, or a setting does not fit it.
    """
    name = settings.name
    if not reads_images(name):
        raise ConfigError(
            f"page_embedder.name = {name!r} is no model that embeds pictures, as far as its config.json and "
            "modules.json can be had; give a folder, or the hub name of one that this machine can reach"
        )
    config = read_model_file(name, "config.json") or {}
    if is_visrag(config):
        return _visrag(settings)
    return _st(settings) if read_model_file(name, "modules.json") is not None else _vision(settings)


def _visrag(settings: PageEmbedderConfig) -> Embedder:
    from ragkit.indexers.models.visrag_embedder import VisragEmbedder

    _refuse(settings, "VisRAG-Ret has its own", "pooling", "max_pixels", "passage_prompt")
    return VisragEmbedder(
        settings.name,
        choose_placement(settings.device, settings.dtype),
        batch_pages=settings.batch_pages,
        query_prompt=settings.query_prompt,
    )


def _st(settings: PageEmbedderConfig) -> Embedder:
    from ragkit.indexers.models.st_vision_embedder import StVisionEmbedder

    _refuse(settings, "the model's sentence-transformers folder decides it", "pooling")
    return StVisionEmbedder(
        settings.name,
        choose_placement(settings.device, settings.dtype),
        max_pixels=settings.max_pixels,
        batch_pages=settings.batch_pages,
        query_prompt=settings.query_prompt,
        passage_prompt=settings.passage_prompt,
        trust_remote_code=settings.trust_remote_code,
    )


def _vision(settings: PageEmbedderConfig) -> Embedder:
    from ragkit.indexers.models.vision_embedder import VisionEmbedder

    return VisionEmbedder(
        settings.name,
        choose_placement(settings.device, settings.dtype),
        pooling=settings.pooling,
        max_pixels=settings.max_pixels,
        batch_pages=settings.batch_pages,
        query_prompt=settings.query_prompt,
        passage_prompt=settings.passage_prompt,
        trust_remote_code=settings.trust_remote_code,
    )


def _refuse(settings: PageEmbedderConfig, reason: str, *names: str) -> None:
    """A setting that would change nothing is an error."""
    for name in names:
        value, default = getattr(settings, name), PageEmbedderConfig.model_fields[name].default
        if value != default:
            raise ConfigError(
                f"page_embedder.{name} = {value!r} changes nothing for {settings.name!r}: {reason}; "
                f"leave it at {default!r}"
            )


def _st_reads_images(name: str, config: Mapping[str, Any]) -> bool:
    modules = read_model_file(name, "modules.json")
    if any(str(module.get("type", "")).endswith(".CLIPModel") for module in modules):
        return True
    # A folder without this table was written when sentence-transformers read text alone.
    settings = read_model_file(name, "sentence_bert_config.json") or {}
    modalities: Mapping[str, Any] = settings.get("modality_config", {})
    # A chat message can hold a picture where the model has a part that sees.
    with_messages = "message" in modalities and family_of(config) is not None
    return with_messages or any("image" in modality for modality in modalities)
