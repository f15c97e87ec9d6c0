"""Tables as the datasets library leaves them in folders: parquet, and the arrow files of ``save_to_disk``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragkit.errors import DataError
from ragkit.extras import require

# "test-00000-of-00002", also with the hash that older versions put behind; "data-..." names no split.
_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?")
_NO_SPLIT = frozenset({"data", "default"})
# Rows with pictures are some megabytes each: few are held at once.
_BATCH_ROWS = 16


def table_files(folder: Path, split: str, *, or_the_only_one: bool = False) -> list[Path]:
    """The files of a split below a folder, by the names that the datasets library gives them.

    Files whose names say no split are those of any. or_the_only_one: another split will do where there is one.

    Raises:
        DataError: there is no such split.
    """
    by_split: dict[str, list[Path]] = {}
    for path in tables_below(folder):
        by_split.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    if split not in by_split and (by_split.keys() == {""} or (or_the_only_one and len(by_split) == 1)):
        return next(iter(by_split.values()))
    if split not in by_split:
        splits = ", ".join(sorted(filter(None, by_split))) or "none"
        raise DataError(f"{folder} has no parquet or arrow file of the split {split!r}; splits here: {splits}")
    return by_split[split]


def tables_below(folder: Path) -> list[Path]:
    """All its parquet files and arrow files of data, by name; not what the library keeps hidden or cached."""
    paths = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(
        folder / path
        for path in paths
        if (path.suffix == ".parquet" or (path.suffix == ".arrow" and path.name.startswith("data-")))
        and not any(part.startswith(".") for part in path.parts)
    )


def column_names(path: Path) -> list[str]:
    """Raises DataError where the file is damaged."""
    with _damage_named(path):
        if path.suffix == ".parquet":
            return list(require("pyarrow.parquet").read_schema(path).names)
        with require("pyarrow").memory_map(str(path)) as file:
            return list(require("pyarrow.ipc").open_stream(file).schema.names)


def table_rows(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and values of each row, a few rows in memory at a time.

    Raises:
        DataError: a file is damaged, or lacks one of the columns.
    """
    for path in paths:
        number = 0
        for batch in _batches(path, list(columns)):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    lacking = set(columns) - set(column_names(path))
    if lacking:
        raise DataError(f"{path} has no column {sorted(lacking)[0]!r}, which the files before it have")
    with _damage_named(path):
        if path.suffix == ".parquet":
            with require("pyarrow.parquet").ParquetFile(path, pre_buffer=False) as file:
                yield from file.iter_batches(_BATCH_ROWS, columns=columns)
            return
        with require("pyarrow").memory_map(str(path)) as file:
            for batch in require("pyarrow.ipc").open_stream(file):
                wanted = batch.select(columns)
                yield from (wanted.slice(start, _BATCH_ROWS) for start in range(0, wanted.num_rows, _BATCH_ROWS))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What pyarrow finds damaged becomes an error that names the file."""
    damaged = (require("pyarrow").ArrowException, OSError)
    try:
        yield
    except damaged as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _split_of(path: Path) -> str:
    """What the file's name says, else its folder's; "" where neither says one."""
    shard = _SHARD.fullmatch(path.stem)
    name = shard["split"] if shard else path.stem
    if name not in _NO_SPLIT and not name.isdigit():
        return name
    folder = path.parent.name
    return "" if folder in _NO_SPLIT else folder
