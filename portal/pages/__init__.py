"""A router a page."""
