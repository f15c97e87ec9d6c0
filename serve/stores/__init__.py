"""What clients bring: files, vector stores, and the work that makes the one findable in the other."""
