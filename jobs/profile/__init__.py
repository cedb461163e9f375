"""Step ``profile``: one row per user and day with every tag."""
