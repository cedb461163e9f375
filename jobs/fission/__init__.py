"""Step ``fission``: who brought whom."""
