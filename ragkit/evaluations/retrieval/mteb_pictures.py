"""Pictures that mteb hands over as documents, written out as files for a corpus to index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ragkit.files import atomic_write
from ragkit.pictures import upright_rgb
from ragkit.records import FileRecord


class Rows(Protocol):
    """What ragkit uses of a `datasets.Dataset`: rows are mappings by column."""

    @property
    def column_names(self) -> list[str]: ...

    def __iter__(self) -> Iterator[Any]: ...


def picture_files(corpus: Rows, folder: Path) -> Iterator[FileRecord]:
    """Write each decoded picture, one at a time, as PNG; what is there already stays."""
    for number, row in enumerate(corpus):
        path = (folder / f"{number:07}.png").resolve()
        if not path.is_file():
            with atomic_write(path) as file:
                upright_rgb(row["image"]).save(file, "PNG")
        yield FileRecord(str(row["id"]), path, f"{row['id']}.png")
