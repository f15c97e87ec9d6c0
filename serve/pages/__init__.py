"""Pages as people look at them: drawn with the cited words in boxes, as HTML, and as JSON."""
