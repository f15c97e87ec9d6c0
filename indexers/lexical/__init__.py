"""Words: how texts become terms, and how BM25 is kept and searched."""
