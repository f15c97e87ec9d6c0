"""Question answering over document collections, from page images and text alike."""
