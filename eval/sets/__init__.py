"""Collections, judgements and questions as they lie on disk."""
