"""Which words of the sources a sentence of an answer rests on."""
