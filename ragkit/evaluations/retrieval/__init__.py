"""`ragkit eval retrieval` and `mteb`, and `ragkit train fusion`: rankings of real corpora."""
