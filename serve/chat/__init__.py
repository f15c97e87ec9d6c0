"""/v1/chat/completions, and what other routes read as it does."""
