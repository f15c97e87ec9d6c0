"""What an indexing run hands to the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ragkit.records import AttributeValue, FloatArray, Page

Attributes = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Picture:
    """A page's picture as it is stored: file name below pages/ ("" where it is not kept), and size in pixels.

    vector: float32 (dim,). tokens: float16 (n, dim) for late interaction, or None.
    """

    page: int
    name: str
    width: int
    height: int
    vector: FloatArray
    tokens: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document ready to be stored.

    passages: (page number, start, end) of its pieces of text, in page order. pictures: the embedded ones
    of its pages, in page order; each becomes a passage too. said: those of its attributes that a sidecar gives.
    """

    id: str
    title: str
    source: str
    media_type: str
    content_hash: str
    settings_hash: str
    pages: Sequence[Page]
    passages: Sequence[tuple[int, int, int]]
    attributes: Attributes = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    said: Attributes = field(default_factory=dict)
