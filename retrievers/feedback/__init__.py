"""Pseudo-relevance feedback: queries revised by the first passages that they found."""
