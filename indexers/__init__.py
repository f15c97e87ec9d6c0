"""Documents in: reading, splitting, embedding, storing."""
