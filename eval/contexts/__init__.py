"""How well a model uses what stands in a long prompt."""
