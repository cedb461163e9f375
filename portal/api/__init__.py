"""The API: the verbs of the pages for programs, under ``/api/v1``."""
