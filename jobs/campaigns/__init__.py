"""Steps ``campaign assign``, ``campaign results`` and ``campaign learn``."""
