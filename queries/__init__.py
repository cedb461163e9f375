"""Answers of a release, read only."""
