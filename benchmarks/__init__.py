"""Side by side with peers, in one run: the same facts from each one's own best layout."""
