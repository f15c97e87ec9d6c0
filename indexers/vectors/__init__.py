"""Vectors: their shards, and the indexes that search them."""
