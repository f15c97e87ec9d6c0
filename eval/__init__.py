"""Offline evaluation: collections, measures, speed."""
