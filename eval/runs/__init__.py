"""What an evaluation keeps: rankings and answers, query by query."""
