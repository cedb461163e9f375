"""Step ``identity``: who is who."""
