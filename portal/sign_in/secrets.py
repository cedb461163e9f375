"""Passwords and tokens: made at random, kept as digests, compared in the same time whatever they are."""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256
"""A longer one would only cost the machine time."""
TOKEN_MARK = "hxp_"  # noqa: S105
"""What a token of the API begins with, so that one that lies about is recognised."""
_HASHER = PasswordHasher()
_AT_ONCE = BoundedSemaphore(4)
"""Judging a password takes 64 MB: many who guess at once must not take the machine."""


def hashed_password(password: str) -> str:
    return _HASHER.hash(password)


def is_password(password: str, hashed: str | None) -> bool:
    """Whether it is the password; for nobody's (None) it takes as long and is not."""
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        with _AT_ONCE:
            right = _HASHER.verify(hashed or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return right and hashed is not None


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe(16))


def new_password() -> str:
    return secrets.token_urlsafe(12)


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def new_token() -> str:
    return TOKEN_MARK + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """How a secret of full entropy is kept and found again."""
    return hashlib.sha256(secret.encode()).hexdigest()
