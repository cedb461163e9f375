"""Writes come from the portal's own pages: a token of the session in the form or its header, and no other site."""

from __future__ import annotations

import hmac

from fastapi import Request

FIELD = "csrf"
HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OURS = frozenset({"same-origin", "none"})
"""What browsers say of requests that a page of this origin, or the person, made."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class ForgedError(Exception):
    """A write without the token of its session."""


async def check_csrf(request: Request, expected: str) -> None:
    """ForgedError where a request that writes does not carry the token."""
    if request.method in SAFE_METHODS:
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in OURS:
        raise ForgedError
    given = request.headers.get(HEADER)
    if given is None and request.headers.get("Content-Type", "").startswith(FORMS):
        field = (await request.form()).get(FIELD)
        given = field if isinstance(field, str) else None
    if not expected or given is None or not hmac.compare_digest(given.encode(), expected.encode()):
        raise ForgedError
