"""Vector shards: merging keeps them few and loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.shards import (
    current_vectors,
    first_to_merge,
    merge_shards,
    space_files,
    sweep,
)
from ragkit.indexers.vectors.vector_shards import TEXTS, read_shards, write_shard
from ragkit.records import Page


@pytest.mark.parametrize(
    ("counts", "first"),
    [
        ([], 0),
        ([5], 0),
        ([1000, 10], 1),
        ([1000, 10, 10], 1),
        ([10, 10, 10], 0),
        ([1000, 100, 60, 40], 1),
        ([300, 100, 40], 2),
        ([150, 100, 60], 0),
        ([100, 100, 100, 10], 0),
        ([9000, 100, 100, 100, 10], 1),
    ],
)
def test_the_newest_shards_are_merged(counts: list[int], first: int):
    assert first_to_merge(counts) == first


def add(corpus: Path, catalogue: Catalogue, document_id: str) -> None:
    with catalogue.transaction() as generation:
        keys = catalogue.add_document(NewDocument(document_id, "", "", "", "", "", [Page(1, "x")], [(1, 0, 1)]))
        vectors = np.full((1, 2), keys[0], np.float32)
        for file in write_shard(corpus, TEXTS, generation, np.array(keys), [vectors]):
            catalogue.add_file(file)


def test_merging_keeps_living_rows_and_sweeping_removes_the_rest(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    for i in range(20):
        add(tmp_path, catalogue, f"d{i}")
    with catalogue.transaction():
        catalogue.remove_document("d3")
    (tmp_path / "vectors" / "99999999.keys.npy").write_bytes(b"left over")
    merge_shards(tmp_path, catalogue, TEXTS, 0.2)
    sweep(tmp_path, catalogue)
    on_disk = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "vectors").iterdir())
    assert on_disk == sorted(file.path for file in space_files(catalogue, TEXTS))
    assert len(on_disk) == 2
    keys, vectors = current_vectors(catalogue, TEXTS, 2)
    assert keys.tolist() == [key for key in range(20) if key != 3]
    assert vectors[:, 0].tolist() == keys.tolist()


def test_a_cut_file_is_damage(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    add(tmp_path, catalogue, "a")
    files = space_files(catalogue, TEXTS)
    path = tmp_path / files[-1].path
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CorpusDamagedError, match=r"is damaged"):
        read_shards(tmp_path, TEXTS, files)


def test_an_altered_shard_is_not_merged(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    add(tmp_path, catalogue, "a")
    add(tmp_path, catalogue, "b")
    path = tmp_path / next(file.path for file in space_files(catalogue, TEXTS) if file.kind == "vectors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorpusDamagedError, match=rf"{path.name} is damaged .* run ragkit repair"):
        merge_shards(tmp_path, catalogue, TEXTS, 0.2)
    assert len(read_shards(tmp_path, TEXTS, space_files(catalogue, TEXTS))) == 2
