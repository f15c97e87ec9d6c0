"""What of the hits an engine is shown, in which order and words, so that it fits."""
