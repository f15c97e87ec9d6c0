"""`ragkit eval answers` and `judge`: questions asked of real corpora."""
