"""Passages out: dense, lexical and hybrid retrieval, reranking."""
