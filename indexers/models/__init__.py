"""The models that embed texts, page pictures and their tokens."""
