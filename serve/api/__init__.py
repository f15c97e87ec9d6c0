"""The HTTP server: OpenAI's API and what belongs to it."""
