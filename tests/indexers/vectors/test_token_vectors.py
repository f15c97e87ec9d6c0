"""Token vectors on disk: what is read is near to what was written, and merging loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.vectors.token_coding import decode, encode
from ragkit.indexers.vectors.token_shards import merge_token_shards, token_files
from ragkit.indexers.vectors.token_vectors import KINDS, TokenVectors, write_token_shard
from ragkit.records import Page

BOUND = {"float16": 2.5e-4, "int8": 1 / 254}


def unit_rows(count: int, seed: int, dim: int = 8) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(arrays.arrays(np.float32, (3, 5), elements=st.floats(-1, 1, width=32)))
def test_the_stated_errors_hold(rows: np.ndarray):
    np.testing.assert_allclose(decode(encode(rows, "float16")), rows, rtol=0, atol=BOUND["float16"])
    error = np.abs(decode(encode(rows, "int8")) - rows)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    # Components so small that a 127th of them is no normal number of float32 are rounded to 0.
    assert (error <= largest * BOUND["int8"] * (1 + 1e-3) + 1e-36).all()


def test_int8_by_hand():
    coded = encode(np.array([[1.27, -0.64, 0.004], [0, 0, 0]], np.float32), "int8")
    assert coded.values.tolist() == [[127, -64, 0], [0, 0, 0]]
    np.testing.assert_allclose(coded.scales, [0.01, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_rows_come_back_by_key(tmp_path: Path, dtype):
    written = {3: unit_rows(4, 1), 10: unit_rows(1, 2), 11: unit_rows(7, 3), 20: unit_rows(2, 4)}
    files = []
    for generation, keys in ((1, [3, 10]), (2, [11, 20])):
        rows = [written[key] for key in keys]
        files += write_token_shard(tmp_path, generation, np.array(keys), rows, dtype)
    vectors = TokenVectors.open(tmp_path, files)
    assert vectors.keys.tolist() == [3, 10, 11, 20]
    assert len(vectors) == 4
    for key, rows in written.items():
        assert key in vectors
        read = vectors.rows(key)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, rows, rtol=0, atol=BOUND[dtype])
    assert 4 not in vectors
    assert 99 not in vectors
    with pytest.raises(KeyError, match="passage 4 has no token vectors"):
        vectors.rows(4)
    assert isinstance(vectors.shards[0].values, np.memmap)
    assert sum(file.num_bytes for file in files if file.kind == "token_vectors") == 2 * 128 + 14 * 8 * (
        2 if dtype == "float16" else 1
    )


def test_no_files_are_no_vectors(tmp_path: Path):
    vectors = TokenVectors.open(tmp_path, [])
    assert len(vectors) == 0
    assert 0 not in vectors


def test_a_passage_without_rows_is_refused(tmp_path: Path):
    for keys, rows in (([1, 2], [unit_rows(2, 0)]), ([1], [np.zeros((0, 8), np.float32)]), ([], [])):
        with pytest.raises(ValueError, match=f"{len(keys)} keys and {len(rows)} arrays"):
            write_token_shard(tmp_path, 1, np.array(keys), rows, "int8")
    assert not (tmp_path / "token_vectors").exists()


def add(corpus: Path, catalogue: Catalogue, document: str, dtype: str = "int8") -> int:
    with catalogue.transaction() as generation:
        (key,) = catalogue.add_document(NewDocument(document, "", "", "", "", "", [Page(1, "x")], [(1, 0, 1)]))
        for file in write_token_shard(corpus, generation, np.array([key]), [unit_rows(key % 3 + 1, key)], dtype):
            catalogue.add_file(file)
    return key


def test_merging_copies_the_rows_of_living_passages(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    keys = [add(tmp_path, catalogue, f"d{i}") for i in range(9)]
    before = TokenVectors.open(tmp_path, token_files(catalogue))
    with catalogue.transaction():
        catalogue.remove_document("d4")
    merge_token_shards(tmp_path, catalogue, 0.2)
    files = token_files(catalogue)
    assert sorted(file.kind for file in files) == sorted(KINDS)
    merged = TokenVectors.open(tmp_path, files)
    assert merged.keys.tolist() == [key for key in keys if key != keys[4]]
    for key in merged.keys:
        # Not coded anew: bit for bit the same.
        np.testing.assert_array_equal(merged.rows(int(key)), before.rows(int(key)))
    merge_token_shards(tmp_path, catalogue, 0.2)
    assert token_files(catalogue) == files


def test_merging_shards_of_removed_passages_leaves_none(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    for name in ("a", "b"):
        add(tmp_path, catalogue, name)
    with catalogue.transaction():
        catalogue.remove_document("a")
        catalogue.remove_document("b")
    merge_token_shards(tmp_path, catalogue, 0.2)
    assert token_files(catalogue) == []


def test_two_types_are_not_mixed(tmp_path: Path):
    catalogue = Catalogue.create(tmp_path)
    add(tmp_path, catalogue, "a", "int8")
    add(tmp_path, catalogue, "b", "float16")
    with pytest.raises(CorpusDamagedError, match="stored as float16 and int8"):
        merge_token_shards(tmp_path, catalogue, 0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_missing_file_is_damage(tmp_path: Path, kind: str):
    files = write_token_shard(tmp_path, 1, np.array([1, 2]), [unit_rows(3, 1), unit_rows(2, 2)], "int8")
    path = next(tmp_path / file.path for file in files if file.kind == kind)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(CorpusDamagedError, match="is damaged"):
        TokenVectors.open(tmp_path, files)
    path.write_bytes(content)
    with pytest.raises(CorpusDamagedError, match=r"token shard 1"):
        TokenVectors.open(tmp_path, [file for file in files if file.kind != kind])


def test_files_that_do_not_fit_together_are_damage(tmp_path: Path):
    files = write_token_shard(tmp_path, 1, np.array([1, 2]), [unit_rows(3, 1), unit_rows(2, 2)], "float16")
    offsets = next(tmp_path / file.path for file in files if file.kind == "token_offsets")
    np.save(offsets, np.array([0, 3, 9]))
    with pytest.raises(CorpusDamagedError, match="2 keys, 3 offsets and 5 vectors of float16 do not fit"):
        TokenVectors.open(tmp_path, files)
