"""Reverse proxies: whose word about address, scheme and person is believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from fastapi import Request

from portal.parts import portal_of, settings_of
from portal.sign_in.headers import Asgi, Receive, Scope, Send
from project.portal_settings import RoleName

PEER = "huaxiang.peer"
"""Key of the scope: the address that the connection itself came from."""
AIRFLOW = "huaxiang.airflow"
"""Key of the scope: whom Airflow has signed in."""


@dataclass(frozen=True)
class Vouched:
    """Somebody whom another application signed in; ``role`` is absent where it does not say what they are."""

    origin: str
    login: str
    role: RoleName | None
    else_role: RoleName | None


class BehindProxy:
    """What a proxy of these networks says of the client's address and scheme is taken; of anybody else it is not."""

    def __init__(self, app: Asgi, networks: Sequence[str]):
        self.app, self.networks = app, networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            peer = scope["client"][0] if scope.get("client") else ""
            scope[PEER] = peer
            if is_in(peer, self.networks):
                headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
                said = [a.strip() for a in headers.get(b"x-forwarded-for", "").split(",")]
                # From the right: what stands left of the first address that is no proxy's was written by the client.
                beyond = next((a for a in reversed(said) if _is_address(a) and not is_in(a, self.networks)), peer)
                scope["client"] = (beyond, 0)
                if headers.get(b"x-forwarded-proto", "").strip() in ("http", "https"):
                    scope["scheme"] = headers[b"x-forwarded-proto"].strip()
        await self.app(scope, receive, send)


def is_in(address: str, networks: Iterable[str]) -> bool:
    if not _is_address(address):
        return False
    found = ip_address(address)
    if found.version == 6 and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ip_network(n, strict=False) for n in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def vouched_for(request: Request) -> Vouched | None:
    """Whom Airflow or a proxy signed in: None where neither is asked, or the connection is not the proxy's."""
    if AIRFLOW in request.scope:
        found: Vouched = request.scope[AIRFLOW]
        return found
    settings = settings_of(request)
    if "proxy" not in portal_of(request).ways or settings.proxy is None:
        return None
    if not is_in(request.scope.get(PEER, ""), settings.proxy.networks):
        return None
    named = request.headers.getlist(settings.proxy.header)
    # Two of them: one may be the client's own, which the proxy let through.
    login = named[0].strip() if len(named) == 1 else ""
    return Vouched("proxy", login, None, settings.proxy.else_role) if login else None
