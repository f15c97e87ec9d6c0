"""Reranking by a model that reads query and passage together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.pictures import scaled_down
from ragkit.records import FloatArray, Hit, PageImage, Query

# Of a page: more makes models slow and their scores no better.
_MOST_PIXELS = 2_000_000


class CrossEncoderReranker:
    """A sentence-transformers `CrossEncoder` as a `Reranker`.

    Nogueira and Cho, "Passage Re-ranking with BERT", 2019. Scores are the model's own, after the
    activation function its configuration names. The order of the hits given does not change them:
    pairs are put in one fixed order, by length, before they are cut into batches, and equal texts
    are read once and score the same.
    """

    def __init__(
        self, name: str, placement: Placement, *, batch_size: int = 32, trust_remote_code: bool = False
    ) -> None:
        """Load the model.

        Raises:
            ConfigError: there is no such model, or it gives more than one score a pair.
        """
        self.name = name
        self.placement = placement
        self._batch_size = batch_size
        self._model = _load(name, placement, trust_remote_code)
        if self._model.num_labels != 1:
            raise ConfigError(
                f"{name!r} gives {self._model.num_labels} scores a pair; a reranker gives one. "
                "Choose a cross-encoder trained for ranking"
            )

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages by the model's score; reads `Passage.titled_text`, cut at the model's length.

        A passage that is a page picture is shown to a model that takes images.

        Raises:
            ConfigError: a passage is a picture and the model reads texts alone.
            DocumentError: a picture cannot be had.
        """
        pictures = [hit for hit in hits if hit.passage.image is not None]
        if pictures and not self._model.supports("image"):
            raise ConfigError(no_pictures(pictures, f"the reranker {self.name!r}"))
        texts = [hit for hit in hits if hit.passage.image is None]
        scores = [
            *self._scores(query.text, [hit.passage.titled_text for hit in texts]),
            *self._picture_scores(query.text, [hit.passage.image for hit in pictures if hit.passage.image]),
        ]
        hits = [*texts, *pictures]
        scored = [Hit(float(score), hit.passage) for score, hit in zip(scores, hits, strict=True)]
        return sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))

    def _picture_scores(self, query: str, pictures: Sequence[PageImage]) -> FloatArray:
        """float32 (len(pictures),); one at a time in memory, as a batch of pages may be large."""
        scores = [
            self._model.predict(
                [(query, scaled_down(picture.load(), _MOST_PIXELS))], batch_size=1, show_progress_bar=False
            )
            for picture in pictures
        ]
        return np.concatenate(scores).astype(np.float32) if scores else np.zeros(0, np.float32)

    def _scores(self, query: str, texts: list[str]) -> FloatArray:
        """float32 (len(texts),)."""
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))
        if not distinct:
            return np.zeros(0, np.float32)
        pairs = [(query, text) for text in distinct]
        scores = self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False)
        score_of = dict(zip(distinct, np.asarray(scores, np.float32), strict=True))
        return np.array([score_of[text] for text in texts], np.float32)


def no_pictures(pictures: Sequence[Hit], what: str) -> str:
    """Why hits that are pictures cannot be ordered, and what to do."""
    first = pictures[0].passage
    return (
        f"{len(pictures)} of the hits are page pictures, the first page {first.page} of {first.document}, and "
        f"{what} reads texts alone; name a reranker of page images (such as Qwen3-VL-Reranker), or set "
        'rerank.kind = "none"'
    )


def _load(name: str, placement: Placement, trust_remote_code: bool) -> Any:
    sentence_transformers = require("sentence_transformers")
    try:
        with quiet_loading():
            return sentence_transformers.CrossEncoder(
                name,
                device=placement.device,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": placement.torch_dtype},
            )
    except OSError as error:
        raise ConfigError(
            f"reranker {name!r} cannot be loaded: {error}. "
            "Give a folder, or a hub name that this machine can reach"
        ) from error
