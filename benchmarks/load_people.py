"""Where those who ask in ``portal_load`` find who they are; apart from both, for locust changes how a process waits."""

PEOPLE = "HUAXIANG_LOAD_PEOPLE"
"""The environment's name of the file: cookie, CSRF token, draft, text and API token of each."""
