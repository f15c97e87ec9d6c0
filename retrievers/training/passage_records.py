"""Training passages as the rest of the house takes passages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import DataError
from ragkit.extras import require
from ragkit.pictures import rgb_on_white
from ragkit.records import PageImage, Passage
from ragkit.retrievers.training.examples import TrainingPassage

if TYPE_CHECKING:
    from PIL.Image import Image


def as_passage(passage: TrainingPassage, pictures: Path, key: int = -1) -> Passage:
    """Its document is its id. pictures: the folder that pictures' paths start from.

    Raises:
        DataError: its picture cannot be read.
    """
    if not passage.image:
        return Passage(key, passage.id, 1, 0, 0, passage.text, passage.title)
    path = pictures / passage.image

    def load() -> Image:
        with require("PIL.Image").open(path) as picture:
            return rgb_on_white(picture)

    try:
        with require("PIL.Image").open(path) as picture:
            width, height = picture.size
    except OSError as error:
        raise DataError(f"picture of passage {passage.id!r} cannot be read: {error}") from error
    return Passage(key, passage.id, 1, 0, 0, "", image=PageImage(passage.id, 1, width, height, load=load))
