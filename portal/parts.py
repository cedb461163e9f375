"""What a request finds in the application that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from portal.queue import Queue
from portal.shop import OpenShop
from portal.sign_in.oidc import Provider
from portal.sign_in.pace import Pace
from portal.state.opened import State
from project.portal_settings import PortalSettings, SignInMode

API = "/api/"


@dataclass(frozen=True)
class Portal:
    """The shop, the portal's own state and its settings."""

    settings: PortalSettings
    shop: OpenShop
    state: State
    pace: Pace
    """Of requests, by person, or by address where nobody is known."""
    tries: Pace
    """Of sign-ins, by address."""
    provider: Provider | None = None
    in_airflow: bool = False
    """Whether Airflow signs people in, and nobody else."""

    @property
    def ways(self) -> tuple[SignInMode, ...]:
        """How people may sign in here."""
        return () if self.in_airflow else self.settings.sign_in


def portal_of(request: Request) -> Portal:
    found: Portal = request.app.state.portal
    return found


def shop_of(request: Request) -> OpenShop:
    return portal_of(request).shop


def state_of(request: Request) -> State:
    return portal_of(request).state


def queue_of(request: Request) -> Queue:
    return Queue(portal_of(request).state)


def settings_of(request: Request) -> PortalSettings:
    return portal_of(request).settings


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def base_path_of(request: Request) -> str:
    """The path below which the portal lies: a proxy's, or that of the application which it is mounted in."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def is_api(request: Request) -> bool:
    """Whether a program asks: it is answered by problem details, and may show a token."""
    return request.url.path.removeprefix(base_path_of(request)).startswith(API)
