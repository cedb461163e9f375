"""Step ``offers``: promotions and cross-purchase."""
