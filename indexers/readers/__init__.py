"""Files of every kind as pages of text, and as pictures."""
