"""Fewer token vectors a page: near ones become one."""

from __future__ import annotations

import numpy as np

from ragkit.extras import require
from ragkit.records import FloatArray


def pool_tokens(rows: FloatArray, factor: int) -> FloatArray:
    """float32 (t, dim) of unit length to (max(1, t // factor), dim) of unit length; factor 1 changes nothing.

    Ward's hierarchical clustering on cosine distances, each cluster replaced by its mean (Clavié, Chaffin and
    Adams, "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token
    Pooling", arXiv 2409.14683). Clusters stand in the order of their first tokens; equal distances may
    leave fewer of them.
    """
    count = max(1, len(rows) // factor)
    if count >= len(rows):
        return rows
    hierarchy = require("scipy.cluster.hierarchy")
    distances = np.clip(1 - rows @ rows.T, 0, 2)
    pairs = distances[np.triu_indices(len(rows), k=1)]
    labels = hierarchy.fcluster(hierarchy.linkage(pairs, method="ward"), t=count, criterion="maxclust")
    _, first, cluster = np.unique(labels, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), rows.shape[1]), np.float32)
    np.add.at(sums, cluster, rows)
    # The mean's direction is the sum's; a cluster whose vectors cancel out keeps its first one.
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    pooled = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), rows[first])
    ordered: FloatArray = pooled[np.argsort(first)].astype(np.float32)
    return ordered
