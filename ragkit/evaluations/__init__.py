"""The work behind `ragkit eval` and `ragkit train`: corpora are made, searched and timed."""
