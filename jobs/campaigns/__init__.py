"""Steps ``campaign assign`` and ``campaign results``."""
