"""FAISS over vectors that stay where they are: in a memory-mapped file, without a copy."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.extras import require
from ragkit.records import FloatArray


def mapped_flat(vectors: FloatArray) -> Any:
    """A `faiss.IndexFlatIP` that reads float32 (n, dim) in place; the array must outlive it.

    FAISS can look at foreign memory (`MaybeOwnedVector::create_view`), but asks for an owner that keeps it mapped.
    Python keeps it here, so the owner of another mapping, of a file of one number, stands in.
    """
    faiss = require("faiss")
    if not vectors.flags.c_contiguous or vectors.dtype != np.float32:
        raise ValueError(
            f"an array of {vectors.dtype}, contiguous: {vectors.flags.c_contiguous}; map float32 rows"
        )
    index = faiss.IndexFlatIP(vectors.shape[1])
    num_bytes = vectors.size * vectors.itemsize
    pointer = faiss.swig_ptr(vectors.view(np.uint8).reshape(-1))
    index.codes = faiss.MaybeOwnedVectorUInt8.create_view(pointer, num_bytes, _mapped_index().codes.owner)
    index.ntotal = len(vectors)
    return index


@cache
def _mapped_index() -> Any:
    """An index over a mapped file. It is kept, for what Python gets of its owner is a pointer into it."""
    faiss = require("faiss")
    index = faiss.IndexFlatIP(1)
    index.add(np.zeros((1, 1), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "one.faiss")
        faiss.write_index(index, path)
        return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
