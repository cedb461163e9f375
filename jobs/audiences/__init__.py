"""Steps ``audience build`` and ``audience export``."""
