"""Systems compared over the same queries, as tables and pages."""
