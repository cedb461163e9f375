"""Step ``brushing``: orders that are held."""
