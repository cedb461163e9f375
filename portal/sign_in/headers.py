"""What every answer tells the browser not to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

OF_CHARTS = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='"
)
"""The two style elements that the chart library makes: an empty one, to which it adds rules, and one of its map's, by content."""
POLICY = (
    f"default-src 'self'; script-src 'self'; style-src 'self' {OF_CHARTS}; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors "
)
SAME = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
A_YEAR = 31_536_000


class Headers:
    """Content policy and its kind on every answer. Pages are never kept by browser or proxy; ``framed``: by our own host."""

    def __init__(self, app: Asgi, *, framed: bool = False):
        self.app = app
        ancestors = "'self'" if framed else "'none'"
        told = {
            **SAME,
            "content-security-policy": POLICY + ancestors,
            "x-frame-options": "SAMEORIGIN" if framed else "DENY",
        }
        self._told = [(name.encode(), value.encode()) for name, value in told.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                given += [(name, value) for name, value in self._told if name not in names]
                if b"cache-control" not in names:
                    given.append((b"cache-control", b"no-store"))
                if scope.get("scheme") == "https":
                    given.append((b"strict-transport-security", f"max-age={A_YEAR}".encode()))
                message["headers"] = given
            await send(message)

        await self.app(scope, receive, with_headers)
