"""Page embedding by VisRAG-Ret (arXiv 2410.10594): pages as pictures, queries as text, one space."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.model_files import model_folder
from ragkit.indexers.pooling import weighted_mean
from ragkit.indexers.text_embedder import model_digest
from ragkit.indexers.visrag_config import is_visrag
from ragkit.indexers.visrag_model import VisragModel
from ragkit.indexers.visrag_slicing import SlicePlan, SliceRule, cut, plan_slices
from ragkit.indexers.visrag_tokens import VisragTokenizer, page_prompt
from ragkit.records import FloatArray, PageImage, Passage

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["QUERY_PROMPT", "VisragEmbedder", "is_visrag"]

# What the model was trained with, to the last space.
QUERY_PROMPT = "Represent this query for retrieving relevant documents: "
# Tokens of an input, as in training; longer queries are cut.
MAX_TOKENS = 2048

_BATCH_PAGES = {"cpu": 1, "cuda": 16}
_BATCH_QUERIES = 32


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
        self._batch_pages = batch_pages or _BATCH_PAGES.get(placement.device.partition(":")[0], 4)
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
        ids = [self._tokenizer.encode(self.query_prompt + text)[:MAX_TOKENS] for text in texts]
        vectors = np.zeros((len(ids), self.dim), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(order), _BATCH_QUERIES):
            batch = order[start : start + _BATCH_QUERIES]
            with self._timed("model"):
                vectors[batch] = self._encode([ids[i] for i in batch], [[] for _ in batch], [])
        return vectors

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim), rows of unit length; reads `Passage.image` alone.

        Raises:
            ConfigError: a passage has no image.
            DocumentError: a picture cannot be had.
        """
        pages = [_page_image(passage) for passage in passages]
        vectors = np.zeros((len(pages), self.dim), np.float32)
        # Pages of one size have slices of one size, which the vision tower takes together.
        order = sorted(range(len(pages)), key=lambda i: (pages[i].width, pages[i].height))
        for start in range(0, len(order), self._batch_pages):
            batch = order[start : start + self._batch_pages]
            vectors[batch] = self._embed_pages([pages[i] for i in batch])
        return vectors

    def _embed_pages(self, pages: list[PageImage]) -> FloatArray:
        with self._timed("preprocess"):
            images, ids, slots = [], [], []
            for page in pages:
                picture = page.load()
                plan = plan_slices(picture.size, self._rule)
                images += cut(picture, plan)
                ids.append(self._page_ids(plan))
                slots.append(self._tokenizer.image_slots(ids[-1], self._model.config.num_queries))
        with self._timed("model"):
            return self._encode(ids, slots, images)

    def _page_ids(self, plan: SlicePlan) -> list[int]:
        return self._tokenizer.encode(page_prompt(plan.grid, self._model.config.num_queries))

    def _encode(self, ids: list[list[int]], slots: list[list[int]], images: list[Image]) -> FloatArray:
        torch = require("torch")
        with torch.inference_mode():
            features = self._model.visual_features(images)
            hidden, mask = self._model.hidden_states(ids, slots, features)
            pooled = weighted_mean(hidden, mask)
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

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds[stage] += time.perf_counter() - started


def _page_image(passage: Passage) -> PageImage:
    if passage.image is None:
        raise ConfigError(
            f"page {passage.page} of {passage.document!r} is given as text, and VisRAG-Ret embeds pictures of "
            'pages alone; index with --pages image, or set page_embedder beside a text embedder for "both"'
        )
    return passage.image
