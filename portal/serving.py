"""How uvicorn serves the portal."""

from __future__ import annotations

from typing import Any

SERVED: dict[str, Any] = {
    # What came through a proxy is judged by the portal itself, by the networks that its settings name.
    "proxy_headers": False,
    "server_header": False,
    # Addresses may hold what people typed; the portal logs by route.
    "access_log": False,
    "log_level": "warning",
    "timeout_keep_alive": 5,
    "timeout_graceful_shutdown": 10,
    "h11_max_incomplete_event_size": 32_768,
    "ws": "none",
    "lifespan": "on",
}
