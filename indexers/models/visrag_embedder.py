"""Page embedding by VisRAG-Ret (arXiv 2410.10594): pages as pictures, queries as text, one space."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.models.model_files import model_folder
from ragkit.indexers.models.pictures import load_pictures
from ragkit.indexers.models.pooling import weighted_mean
from ragkit.indexers.models.stages import in_stages
from ragkit.indexers.models.text_embedder import model_digest
from ragkit.indexers.models.visrag_config import is_visrag
from ragkit.indexers.models.visrag_model import VisragModel
from ragkit.indexers.models.visrag_slicing import SlicePlan, SliceRule, cut, plan_slices
from ragkit.indexers.models.visrag_tokens import VisragTokenizer, page_prompt
from ragkit.records import FloatArray, Passage

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["QUERY_PROMPT", "VisragEmbedder", "is_visrag"]

# What the model was trained with, to the last space.
QUERY_PROMPT = "Represent this query for retrieving relevant documents: "
# Tokens of an input, as in training; longer queries are cut.
MAX_TOKENS = 2048

_BATCH_PAGES = {"cpu": 1, "cuda": 16}
_BATCH_QUERIES = 32

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """ids: of each input. slots: its positions that visual features take. images: of all inputs, in order."""

    ids: list[list[int]]
    slots: list[list[int]]
    images: list[Image]


class VisragEmbedder:
    """VisRAG-Ret as an `Embedder` of passages that are page images; rows have unit length.

    query_prompt None: the one the model was trained with. max_slices: the most cells that a page is cut
    into beside its thumbnail, 0 for the checkpoint's own (9); fewer are faster and see less.
    batch_pages 0: what the device is fast at. stage_seconds: seconds spent so far in "preprocess"
    (reading, resizing and cutting pictures) and in "model".

    Raises:
        ConfigError: the checkpoint is not there, or not VisRAG-Ret's; the message names the tensors.
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        batch_pages: int = 0,
        query_prompt: str | None = None,
        max_slices: int = 0,
    ) -> None:
        self.name = name
        self.placement = placement
        self.query_prompt = QUERY_PROMPT if query_prompt is None else query_prompt
        self.stage_seconds: dict[str, float] = {"preprocess": 0.0, "model": 0.0}
        self.batch_pages = batch_pages or _BATCH_PAGES.get(placement.device.partition(":")[0], 4)
        self._folder = model_folder(name)
        self._tokenizer = VisragTokenizer(self._folder)
        with quiet_loading():
            self._model = VisragModel(self._folder, placement)
        own = self._model.config.slices
        self._rule = SliceRule(max_slices or own.max_slices, own.resolution, own.patch)
        self._check_length()
        self._fingerprint: str | None = None

    @property
    def dim(self) -> int:
        return self._model.config.dim

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, tokenizer, prompt and slicing."""
        if self._fingerprint is None:
            facts = ["visrag", self.query_prompt, self._rule.max_slices]
            self._fingerprint = model_digest(self._folder, json.dumps(facts))
        return self._fingerprint

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim), rows of unit length."""

        def prepare(batch: Sequence[str]) -> _Inputs:
            ids = [self._tokenizer.encode(self.query_prompt + text)[:MAX_TOKENS] for text in batch]
            return _Inputs(ids, [[] for _ in ids], [])

        # Texts of like length, so that little is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        return self._in_order(order, texts, _BATCH_QUERIES, prepare)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim), rows of unit length; reads `Passage.image` alone.

        Raises:
            ConfigError: a passage has no image.
            DocumentError: a picture cannot be had.
        """

        def prepare(batch: Sequence[Passage]) -> _Inputs:
            return self._page_inputs(load_pictures(batch, self.name))

        # Pages of one size have slices of one size, which the vision tower takes together.
        sizes = [(p.image.width, p.image.height) if p.image else (0, 0) for p in passages]
        order = sorted(range(len(passages)), key=lambda i: sizes[i])
        return self._in_order(order, passages, self.batch_pages, prepare)

    def _in_order(
        self, order: list[int], items: Sequence[Item], size: int, prepare: Callable[[Sequence[Item]], _Inputs]
    ) -> FloatArray:
        vectors = np.zeros((len(items), self.dim), np.float32)
        ordered = [items[i] for i in order]
        parts = list(in_stages(ordered, size, prepare, self._encode, self.stage_seconds))
        if parts:
            vectors[order] = np.concatenate(parts)
        return vectors

    def _page_inputs(self, pictures: list[Image]) -> _Inputs:
        num_queries = self._model.config.num_queries
        plans = [plan_slices(picture.size, self._rule) for picture in pictures]
        ids = [self._page_ids(plan) for plan in plans]
        slots = [self._tokenizer.image_slots(row, num_queries) for row in ids]
        images = [image for picture, plan in zip(pictures, plans, strict=True) for image in cut(picture, plan)]
        return _Inputs(ids, slots, images)

    def _page_ids(self, plan: SlicePlan) -> list[int]:
        return self._tokenizer.encode(page_prompt(plan.grid, self._model.config.num_queries))

    def _encode(self, inputs: _Inputs) -> FloatArray:
        torch = require("torch")
        with torch.inference_mode():
            features = self._model.visual_features(inputs.images)
            pooled = weighted_mean(*self._model.hidden_states(inputs.ids, inputs.slots, features))
            vectors: FloatArray = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors

    def _check_length(self) -> None:
        tallest = SlicePlan((0, 0), (1, self._rule.max_slices), (0, 0))
        length = len(self._page_ids(tallest))
        if length > MAX_TOKENS:
            raise ConfigError(
                f"max_slices = {self._rule.max_slices} makes pages of {length} tokens, and the model reads "
                f"{MAX_TOKENS}; set it lower"
            )
