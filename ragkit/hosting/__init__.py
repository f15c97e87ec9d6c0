"""Corpora and engines as a server has them."""
