"""Training retrievers and rerankers: examples, losses, loops."""
