"""What a ranking or an answer is worth, and how sure that is."""
