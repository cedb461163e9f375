"""How much one person or address may ask for, how large a request may be, and how slowly it may come."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from portal.sign_in.headers import Asgi, Message, Receive, Scope, Send
from project.portal_settings import PortalLimits

MOST_KNOWN = 50_000
"""Whoever asked longest ago is forgotten first: memory stays flat whoever knocks."""
BODY_SECONDS = 30.0
"""Within which a body has come as a whole; a large one of a slow line still does at 300 kB a second."""


class TooManyError(Exception):
    """Somebody asks too often."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds


class Pace:
    """So many requests a minute for each key, all of them at once where none came before."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic):
        self._per_second = per_minute / 60
        self._most = float(per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def ask(self, key: str) -> None:
        """TooManyError says how long to wait."""
        now = self._clock()
        with self._lock:
            left, seen = self._left.pop(key, (self._most, now))
            left = min(self._most, left + (now - seen) * self._per_second)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now)
            if len(self._left) > MOST_KNOWN:
                self._left.popitem(last=False)
        if not allowed:
            raise TooManyError((1 - left) / self._per_second)


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Bodies end at a size and within a time, however they are announced."""

    def __init__(self, app: Asgi, limits: PortalLimits):
        self.app = app
        self.most = int(limits.body_mb * 2**20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if not announced.isdigit() or int(announced) > self.most:
            await _refused(send, 413, f"a request may have {self.most:,} bytes")
            return
        taken, answered, ends = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS
        whole = False

        async def counted() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            wait = ends - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(receive(), max(wait, 0))
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if taken > self.most:
                    raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except (_TooLargeError, TimeoutError):
            if answered:
                raise
            late = taken <= self.most
            said = "the request came too slowly" if late else f"a request may have {self.most:,} bytes"
            await _refused(send, 408 if late else 413, said)


async def _refused(send: Send, status: int, said: str) -> None:
    """Told before anything knows the language of who asks, and without a page: nobody's browser sends such a request."""
    body = json.dumps({"type": "about:blank", "title": said, "status": status}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
