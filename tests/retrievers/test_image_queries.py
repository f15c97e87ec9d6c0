"""A query of words and images over page pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragkit.protocols import VectorIndex
from ragkit.records import FloatArray, KeyArray, Passage, Query
from ragkit.retrievers.dense import DenseRetriever
from tests.fakes import ThumbnailEmbedder


class Recorder:
    """A `VectorIndex` that keeps what it was asked for and finds nothing."""

    def __init__(self) -> None:
        self.asked = np.zeros((0, 0), np.float32)

    def __len__(self) -> int:
        return 0

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        self.asked = vectors
        return np.full((len(vectors), k), -np.inf, np.float32), np.full((len(vectors), k), -1, np.int64)

    def vectors_of(self, keys: KeyArray) -> FloatArray:
        return np.zeros((len(keys), 0), np.float32)


class NoPassages:
    def passages(self, keys: Any) -> list[Passage]:
        return []


def vectors_of(*queries: Query, reads_images: bool = True) -> FloatArray:
    index: VectorIndex = Recorder()
    retriever = DenseRetriever(NoPassages(), ThumbnailEmbedder(), index, reads_images=reads_images)  # type: ignore[arg-type]
    retriever.retrieve(queries, 1)
    return index.asked  # type: ignore[attr-defined, no-any-return]


def half_black(side: str) -> Image.Image:
    image = Image.new("RGB", (80, 80), "white")
    image.paste((0, 0, 0), (0, 0, 40, 80) if side == "left" else (40, 0, 80, 80))
    return image


def test_words_and_images_count_the_same() -> None:
    words, left, right, both = vectors_of(
        Query("top"),
        Query("left"),
        Query(" ", images=(half_black("right"),)),
        Query("left", images=(half_black("right"),)),
    )
    assert np.linalg.norm(words) == pytest.approx(1, abs=1e-6)
    assert both == pytest.approx((left + right) / np.linalg.norm(left + right), abs=1e-6)
    # The image alone is the vector of the page that looks like it.
    assert right @ vectors_of(Query("right"))[0] > 0.99


def test_two_images_and_words_are_a_mean_of_three() -> None:
    left, right, words = vectors_of(
        Query("", images=(half_black("left"),)), Query("", images=(half_black("right"),)), Query("top")
    )
    (all_three,) = vectors_of(Query("top", images=(half_black("left"), half_black("right"))))
    mean = (left + right + words) / 3
    assert all_three == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_where_texts_are_searched_images_change_nothing() -> None:
    plain, shown = vectors_of(Query("left"), Query("left", images=(half_black("right"),)), reads_images=False)
    assert (plain == shown).all()


def test_a_given_vector_stands() -> None:
    given = np.full(64, 0.125, np.float32)
    (asked,) = vectors_of(Query("left", given, (half_black("right"),)))
    assert (asked == given).all()


def test_transparent_and_grey_images_are_read() -> None:
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    white = Image.new("L", (10, 10), 255)
    a, b = vectors_of(Query("", images=(clear,)), Query("", images=(white,)))
    assert a == pytest.approx(b)
