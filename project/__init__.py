"""A shop's folder: settings, loading, making one, checking it."""
