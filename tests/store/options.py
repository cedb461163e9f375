"""How the tests of this folder reach a store: quick to give up, so that a test of giving up is quick."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from obstore.store import from_url

RETRY: dict[str, Any] = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=20), "max_backoff": timedelta(seconds=1), "base": 2},
}

# As soon as a client is described, the environment's AWS_ALLOW_HTTP no longer counts for it.
CLIENT: dict[str, Any] = {"timeout": "20s", "connect_timeout": "2s", "allow_http": True}

DELTA = {
    "conditional_put": "etag",
    "timeout": "20s",
    "connect_timeout": "2s",
    "max_retries": "8",
    "retry_timeout": "20s",
    "backoff_config.init_backoff": "20ms",
    "backoff_config.max_backoff": "1s",
    "backoff_config.base": "2",
}
"""The same for deltalake, which reads AWS_ALLOW_HTTP in any case."""


def store_at(uri: str, **retry: Any) -> Any:
    """The store below an address."""
    return from_url(uri, retry_config=RETRY | retry, client_options=CLIENT)


def mark(found: Any) -> Any:
    """What a store says of an object's state, as a condition for replacing it. Google's store goes by the version."""
    return {k: found[k] for k in ("e_tag", "version") if found[k] is not None}
