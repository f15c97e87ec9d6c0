"""One vector a token or image patch, for late interaction, by models of sentence-transformers and transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ragkit.config import LateInteractionConfig
from ragkit.devices import Placement, choose_placement
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.models.model_files import model_folder, read_model_file
from ragkit.indexers.models.pictures import load_pictures, unit_rows
from ragkit.indexers.models.st_vision_embedder import load_st, st_texts
from ragkit.indexers.models.stages import Item, in_stages
from ragkit.indexers.models.text_embedder import model_digest
from ragkit.indexers.models.token_pooling import pool_tokens
from ragkit.indexers.models.vision_embedder import placed
from ragkit.indexers.models.vision_families import is_late_interaction
from ragkit.records import FloatArray, Passage

_BATCH_PAGES = {"cpu": 1, "cuda": 8}
_BATCH_QUERIES = 16


class MultiVectorEmbedder:
    """A late-interaction model as a `TokenEmbedder`: ColPali (ICLR 2025), ColQwen2, ColModernVBERT, ColBERT.

    Loaded by sentence-transformers' `MultiVectorEncoder`, which reads transformers' models too. pool_factor:
    so many vectors of a passage become one (`ragkit.indexers.models.token_pooling`); queries keep all.
    """

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        pool_factor: int = 1,
        batch_pages: int = 0,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model.

        Raises:
            ConfigError: the model cannot be had, or was not trained for late interaction.
        """
        self.name = name
        self.placement = placement
        self.stage_seconds = {"preprocess": 0.0, "model": 0.0}
        _check_is_multi_vector(name)
        self._folder = model_folder(name)
        self._model = load_st("MultiVectorEncoder", name, self._folder, placement, trust_remote_code)
        # Transformers' own page models: their processor gives every text the form of a query.
        self._for_pages: bool = self._model[0].transformer_task == "retrieval"
        self._pool_factor = pool_factor
        self.batch_pages = batch_pages or _BATCH_PAGES.get(placement.device.partition(":")[0], 1)
        # Tokenizers are set to pad and cut at every call, which two threads must not do at once.
        self._preparing = threading.Lock()
        self._fingerprint: str | None = None

    @property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, processor, chat template and pooling factor."""
        if self._fingerprint is None:
            facts = [self._pool_factor, getattr(self._model.processor, "chat_template", None)]
            self._fingerprint = model_digest(self._folder, json.dumps(facts))
        return self._fingerprint

    def embed_query_tokens(self, texts: Sequence[str]) -> list[FloatArray]:
        """For each text float32 (its number of tokens, dim), rows of unit length."""

        def read(batch: Sequence[str]) -> Any:
            return self._features(st_texts(batch, self._model), "query")

        return self._embed(texts, _BATCH_QUERIES, read, "query")

    def embed_passage_tokens(self, passages: Sequence[Passage]) -> list[FloatArray]:
        """For each passage float32 (its number of tokens or image patches, dim), rows of unit length.

        Raises:
            ConfigError: a passage is a picture and the model reads text alone, or the other way round.
            DocumentError: a picture cannot be loaded.
        """

        def read(batch: Sequence[Passage]) -> Any:
            return self._features([self._input_of(passage) for passage in batch], "document")

        rows = self._embed(passages, self.batch_pages, read, "document")
        return [pool_tokens(row, self._pool_factor) for row in rows]

    def _input_of(self, passage: Passage) -> Any:
        wanted = "text" if passage.image is None else "image"
        if not self._model.supports(wanted) or (self._for_pages and wanted == "text"):
            reads = "pictures" if self._for_pages else "text"
            raise ConfigError(
                f"{self.name!r} reads {reads}, and the passage of page {passage.page} of {passage.document!r} "
                f"is {'a picture' if wanted == 'image' else 'text'}; choose another [late_interaction] name"
            )
        if passage.image is None:
            return st_texts([passage.titled_text], self._model)[0]
        return load_pictures([passage], self.name)[0]

    def _features(self, inputs: list[Any], task: str) -> Any:
        """What the model reads, as its processor makes it."""
        with self._preparing:
            if not self._for_pages:
                prompt = self._model.prompts.get(task) or None
                return self._model.preprocess(inputs, prompt=prompt, task=task)
            # sentence-transformers gives ColModernVBERT's pictures without the prompt that goes with them.
            if task == "query":
                texts = [text["text"] for text in inputs]
                return {**self._model.processor.process_queries(texts), "modality": "text"}
            return {**self._model.processor.process_images(inputs), "modality": "image"}

    def _embed(
        self, items: Sequence[Item], size: int, read: Callable[[Sequence[Item]], Any], task: str
    ) -> list[FloatArray]:
        def forward(features: Any) -> list[FloatArray]:
            with require("torch").inference_mode():
                output = self._model(placed(features, self.placement), task=task)
                vectors = output["token_embeddings"].float().cpu().numpy()
                masks = output["attention_mask"].bool().cpu().numpy()
            return [unit_rows(np.ascontiguousarray(row[mask])) for row, mask in zip(vectors, masks, strict=True)]

        batches = in_stages(items, size, read, forward, self.stage_seconds)
        return [row for rows in batches for row in rows]


def make_token_embedder(settings: LateInteractionConfig) -> MultiVectorEmbedder | None:
    """The embedder of the configuration, its model loaded; None for `late_interaction.name = "none"`."""
    if settings.name == "none":
        return None
    return MultiVectorEmbedder(
        settings.name,
        choose_placement(settings.device),
        pool_factor=settings.pool_factor,
        trust_remote_code=settings.trust_remote_code,
    )


def _check_is_multi_vector(name: str) -> None:
    """Any other model would get a projection of random weights from sentence-transformers, with a warning."""
    config = read_model_file(name, "config.json") or {}
    settings = read_model_file(name, "config_sentence_transformers.json") or {}
    known = (
        is_late_interaction(config)
        or "HF_ColBERT" in (config.get("architectures") or ())
        or settings.get("model_type") in {"MultiVectorEncoder", "ColBERT"}
        or "query_prefix" in settings
    )
    if not known:
        raise ConfigError(
            f"late_interaction.name = {name!r} is no late-interaction model, as far as its config.json can be "
            "had; give a folder, or the hub name of a ColPali, ColQwen2, ColModernVBERT or ColBERT"
        )
