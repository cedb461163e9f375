"""How large a request may be, and how slowly it may come."""

from __future__ import annotations

import asyncio

from fastapi.exceptions import HTTPException

from portal.sign_in.headers import Asgi, Message, Receive, Scope, Send
from project.portal_settings import PortalLimits


class BodyLimit:
    """Bodies end at a size and within a time, however they are announced: HTTPException 413 or 408 to who reads them."""

    def __init__(self, app: Asgi, limits: PortalLimits):
        self.app, self.seconds = app, limits.body_seconds
        self.most = int(limits.body_mb * 2**20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        taken = int(announced) if announced.isdigit() else 0
        is_too_large, is_whole, ends = taken > self.most, False, clock() + self.seconds
        taken = 0

        async def counted() -> Message:
            nonlocal taken, is_whole
            if is_whole:
                return await receive()
            if is_too_large:
                raise HTTPException(413)
            try:
                message = await asyncio.wait_for(receive(), max(ends - clock(), 0))
            except TimeoutError:
                raise HTTPException(408) from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if taken > self.most:
                    raise HTTPException(413)
            return message

        await self.app(scope, counted, send)
