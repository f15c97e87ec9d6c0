"""Answers out: prompts, engines, citations, the HTTP door."""
