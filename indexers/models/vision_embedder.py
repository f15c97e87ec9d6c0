"""Page and question embedding by vision-language models of transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.models.model_files import model_folder, read_model_file
from ragkit.indexers.models.pictures import load_pictures, unit_rows
from ragkit.indexers.models.pooling import POOLINGS
from ragkit.indexers.models.stages import in_stages
from ragkit.indexers.models.text_embedder import model_digest
from ragkit.indexers.models.vision_families import VisionFamily, family_of, is_late_interaction
from ragkit.indexers.models.vision_inputs import VisionInputs
from ragkit.records import FloatArray, Passage

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")
Pooling = Literal["auto", "weighted-mean", "mean", "last"]

# Pages in a batch that each kind of device is fastest at; a page is some hundred to some thousand tokens.
_BATCH_PAGES = {"cpu": 1, "cuda": 8}
_BATCH_QUERIES = 16


class VisionEmbedder:
    """A decoder that reads pictures, or a dual encoder (SigLIP, CLIP), as an `Embedder` of page images.

    A decoder's vector is pooled from its last hidden states (`ragkit.indexers.models.pooling`). Prompts None and
    pooling "auto" take what the model's family wants (`ragkit.indexers.models.vision_families`).
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        pooling: Pooling = "auto",
        max_pixels: int = 0,
        batch_pages: int = 0,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load processor and model.

        Raises:
            ConfigError: the model cannot be had, reads no pictures, lacks weights, or a setting does not
                fit its family.
        """
        self.name = name
        self.placement = placement
        self.stage_seconds = {"preprocess": 0.0, "model": 0.0}
        family = _known_family(name)
        self._folder = model_folder(name)
        if family.towers == 2 and (pooling != "auto" or passage_prompt):
            raise ConfigError(
                f"{name!r} is a dual encoder: it has no tokens to pool and no prompt beside a picture; "
                "leave page_embedder.pooling at 'auto' and passage_prompt unset"
            )
        self._pooling = family.pooling if pooling == "auto" else pooling
        self._inputs = VisionInputs(
            self._folder,
            family,
            query_prompt=query_prompt,
            passage_prompt=passage_prompt,
            max_pixels=max_pixels,
            trust_remote_code=trust_remote_code,
        )
        self.batch_pages = batch_pages or _BATCH_PAGES.get(placement.device.partition(":")[0], 1)
        self._model = _load(name, self._folder, family, placement, trust_remote_code)
        self._max_tokens = int(self._model.config.get_text_config().max_position_embeddings)
        self._fingerprint: str | None = None
        self._dim = self._measured_dim()

    @property
    def dim(self) -> int:
        return self._dim

    def _measured_dim(self) -> int:
        if self._inputs.family.towers == 1:
            return int(self._model.config.get_text_config().hidden_size)
        with require("torch").inference_mode():
            text = self._inputs.of_queries([""], self._max_tokens)
            return int(self._text_tower(placed(text, self.placement)).shape[1])

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, processor, prompts, pooling and picture sizes."""
        if self._fingerprint is None:
            facts = [self._pooling, *self._inputs.facts]
            self._fingerprint = model_digest(self._folder, json.dumps(facts))
        return self._fingerprint

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim), rows of unit length."""
        forward = self._text_tower if self._inputs.family.towers == 2 else self._pooled

        def prepare(batch: Sequence[str]) -> dict[str, Tensor]:
            return self._inputs.of_queries(batch, self._max_tokens)

        return self._embed(texts, _BATCH_QUERIES, prepare, forward)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim), rows of unit length; reads `Passage.image`.

        Raises:
            ConfigError: a passage has no picture.
            DocumentError: a picture cannot be loaded.
        """
        forward = self._image_tower if self._inputs.family.towers == 2 else self._pooled

        def prepare(batch: Sequence[Passage]) -> dict[str, Tensor]:
            return self._inputs.of_pages(load_pictures(batch, self.name))

        return self._embed(passages, self.batch_pages, prepare, forward)

    def _embed(
        self,
        items: Sequence[Item],
        size: int,
        prepare: Callable[[Sequence[Item]], dict[str, Tensor]],
        tower: Callable[[dict[str, Tensor]], Tensor],
    ) -> FloatArray:
        def forward(inputs: dict[str, Tensor]) -> FloatArray:
            with require("torch").inference_mode():
                vectors: FloatArray = tower(placed(inputs, self.placement)).cpu().numpy()
            return vectors

        parts = list(in_stages(items, size, prepare, forward, self.stage_seconds))
        return unit_rows(np.concatenate(parts)) if parts else np.zeros((0, self._dim), np.float32)

    def _pooled(self, inputs: dict[str, Tensor]) -> Tensor:
        hidden: Tensor = self._model(**inputs, use_cache=False).last_hidden_state
        return POOLINGS[self._pooling](hidden, inputs["attention_mask"])

    def _text_tower(self, inputs: dict[str, Tensor]) -> Tensor:
        return _projected(self._model.get_text_features(**inputs))

    def _image_tower(self, inputs: dict[str, Tensor]) -> Tensor:
        return _projected(self._model.get_image_features(**inputs))


def placed(inputs: Mapping[str, Any], placement: Placement) -> dict[str, Any]:
    """Tensors on the model's device, pictures in its precision; ids and masks keep their type."""
    torch = require("torch")

    def moved(value: Any) -> Any:
        if not torch.is_tensor(value):
            return value
        return value.to(placement.device, placement.torch_dtype if value.is_floating_point() else None)

    return {name: moved(value) for name, value in inputs.items()}


def _projected(output: Any) -> Tensor:
    features: Tensor = getattr(output, "pooler_output", output)
    return features.float()


def _known_family(name: str) -> VisionFamily:
    config = read_model_file(name, "config.json") or {}
    family = family_of(config)
    if is_late_interaction(config):
        raise ConfigError(
            f"{name!r} gives many vectors a page (late interaction); set it as [late_interaction] name, beside "
            "a page embedder that finds the pages it scores"
        )
    if family is None:
        raise ConfigError(
            f"{name!r} (model_type {config.get('model_type')!r}) reads no pictures beside texts; choose a "
            "vision-language model, or SigLIP or CLIP with both towers"
        )
    return family


def _load(name: str, folder: Path, family: VisionFamily, placement: Placement, trust_remote_code: bool) -> Any:
    transformers = require("transformers")
    loader = transformers.AutoModel if family.towers == 2 else transformers.AutoModelForImageTextToText
    try:
        with quiet_loading():
            model, report = loader.from_pretrained(
                folder,
                dtype=placement.torch_dtype,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        raise ConfigError(f"page embedder {name!r} cannot be loaded: {error}") from error
    # The head that writes words is not used, so a checkpoint may come without it.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("lm_head."))
    if missing:
        raise ConfigError(
            f"page embedder {name!r} lacks {len(missing)} tensors of its model (first: {missing[0]}); "
            "fetch its files again"
        )
    used = model if family.towers == 2 else model.base_model
    return used.to(placement.device).eval()
