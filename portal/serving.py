"""How uvicorn serves the portal."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from project.portal_settings import PortalSettings

MOST_AT_ONCE = 500
"""Requests under way; further ones are told to come back, so that memory stays flat."""


def protocol_of(header_seconds: float) -> type[asyncio.Protocol]:
    """HTTP as uvicorn speaks it, but who does not finish the head of a request in time is hung up on.

    Uvicorn waits for ever for it: a few thousand connections that say a letter a minute would use up all there are.
    """

    class Impatient(H11Protocol):
        _ends: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            if not self._is_answering():
                self._wait()
            super().data_received(data)
            if self._is_answering():
                self._forget()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _is_answering(self) -> bool:
            """Whether the head of a request is here and its answer is not out yet."""
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            if self._ends is None:
                self._ends = self.loop.call_later(header_seconds, self._hang_up)

        def _forget(self) -> None:
            if self._ends is not None:
                self._ends.cancel()
                self._ends = None

        def _hang_up(self) -> None:
            self._ends = None
            if not self._is_answering():
                self.transport.close()

    return Impatient


def served(settings: PortalSettings) -> dict[str, Any]:
    """Uvicorn's options."""
    return {
        "http": protocol_of(settings.limits.header_seconds),
        # What came through a proxy is judged by the portal itself, by the networks that its settings name.
        "proxy_headers": False,
        "server_header": False,
        # Addresses may hold what people typed; the portal logs by route.
        "access_log": False,
        "log_level": "warning",
        "limit_concurrency": MOST_AT_ONCE,
        "timeout_keep_alive": 5,
        "timeout_graceful_shutdown": 10,
        "h11_max_incomplete_event_size": 32_768,
        "ws": "none",
        "lifespan": "on",
    }
