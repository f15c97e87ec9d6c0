"""/v1/responses: answers with file_search."""
