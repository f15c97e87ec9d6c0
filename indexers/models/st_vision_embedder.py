"""Page and question embedding by the multimodal models of sentence-transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.models.control_tokens import without_control_tokens
from ragkit.indexers.models.model_files import model_folder, read_model_file
from ragkit.indexers.models.picture_sizes import PictureSizes
from ragkit.indexers.models.pictures import load_pictures, unit_rows
from ragkit.indexers.models.stages import Item, in_stages
from ragkit.indexers.models.text_embedder import model_digest
from ragkit.indexers.models.vision_embedder import placed
from ragkit.indexers.models.vision_families import OTHER_DECODER, family_of
from ragkit.records import FloatArray, Passage
from ragkit.without_video import without_video

_BATCH_PAGES = {"cpu": 1, "cuda": 8}
_BATCH_QUERIES = 16


class StVisionEmbedder:
    """A multimodal `SentenceTransformer` (Qwen3-VL-Embedding and the like) as an `Embedder` of page images.

    Its folder decides pooling and, where they are None, prompts: "query", and "document" or "passage".
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        max_pixels: int = 0,
        batch_pages: int = 0,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model.

        Raises:
            ConfigError: the model cannot be had, or reads no pictures.
        """
        self.name = name
        self.placement = placement
        self.stage_seconds = {"preprocess": 0.0, "model": 0.0}
        self._folder = model_folder(name)
        self._model = load_st("SentenceTransformer", name, self._folder, placement, trust_remote_code)
        if not self._model.supports("image"):
            raise ConfigError(f"{name!r} embeds {', '.join(map(str, self._model.modalities))} and no pictures")
        own = self._model.prompts
        self.query_prompt: str = own.get("query", "") if query_prompt is None else query_prompt
        passage_default = own.get("document") or own.get("passage", "")
        self.passage_prompt: str = passage_default if passage_prompt is None else passage_prompt
        self._max_pixels = max_pixels
        self._sizes = st_picture_sizes(self._model, self._folder, max_pixels)
        self.batch_pages = batch_pages or _BATCH_PAGES.get(placement.device.partition(":")[0], 1)
        # Tokenizers are set to pad and cut at every call, which two threads must not do at once.
        self._preparing = threading.Lock()
        self._fingerprint: str | None = None

    @property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, processor, chat template, prompts and picture sizes."""
        if self._fingerprint is None:
            template = getattr(self._model.processor, "chat_template", None)
            facts = [self.query_prompt, self.passage_prompt, self._max_pixels, template]
            self._fingerprint = model_digest(self._folder, json.dumps(facts))
        return self._fingerprint

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim), rows of unit length."""
        return self._embed(texts, _BATCH_QUERIES, self._texts, self.query_prompt, "query")

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim), rows of unit length; reads `Passage.image`.

        Raises:
            ConfigError: a passage has no picture.
            DocumentError: a picture cannot be loaded.
        """

        def pictures(batch: Sequence[Passage]) -> list[Any]:
            return [self._sizes.shrunk(picture) for picture in load_pictures(batch, self.name)]

        return self._embed(passages, self.batch_pages, pictures, self.passage_prompt, "document")

    def _texts(self, texts: Sequence[str]) -> list[Any]:
        return st_texts(texts, self._model)

    def _embed(
        self,
        items: Sequence[Item],
        size: int,
        read: Callable[[Sequence[Item]], list[Any]],
        prompt: str,
        task: str,
    ) -> FloatArray:
        def prepare(batch: Sequence[Item]) -> Any:
            inputs = read(batch)
            settings = {"image": self._sizes.settings}
            with self._preparing:
                return self._model.preprocess(inputs, prompt=prompt or None, task=task, processing_kwargs=settings)

        def forward(features: Any) -> FloatArray:
            with require("torch").inference_mode():
                output = self._model(placed(features, self.placement), task=task)
                vectors: FloatArray = output["sentence_embedding"].float().cpu().numpy()
            return vectors

        parts = list(in_stages(items, size, prepare, forward, self.stage_seconds))
        return unit_rows(np.concatenate(parts)) if parts else np.zeros((0, self.dim), np.float32)


def load_st(class_name: str, name: str, folder: Path, placement: Placement, trust_remote_code: bool) -> Any:
    """A model of sentence-transformers, of the class of this name, in the placement's precision.

    Raises:
        ConfigError: it cannot be loaded.
    """
    loader = getattr(require("sentence_transformers"), class_name)
    try:
        with quiet_loading(), without_video():
            model = loader(
                str(folder),
                device=placement.device,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": placement.torch_dtype, "use_safetensors": True},
            )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"{name!r} cannot be loaded: {error}") from error
    return model.eval()


def st_texts(texts: Sequence[str], model: Any) -> list[dict[str, str]]:
    """Texts as sentence-transformers takes them for nothing else.

    Of a bare string that is the path or address of a picture it would fetch the picture.
    """
    return [{"text": without_control_tokens(text, model.processor)} for text in texts]


def st_picture_sizes(model: Any, folder: Path, max_pixels: int) -> PictureSizes:
    """The sizes of pictures for a model of sentence-transformers, by the family of its config.json."""
    family = family_of(read_model_file(str(folder), "config.json") or {}) or OTHER_DECODER
    return PictureSizes(family, getattr(model.processor, "image_processor", None), max_pixels)
