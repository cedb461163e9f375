"""Step ``activity``: what everybody did, clustered by user, and its readers."""
