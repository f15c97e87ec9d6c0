"""`ragkit eval speed`, `load`, `ocr` and `tradeoff`: real corpora and servers, timed."""
