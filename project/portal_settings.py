"""Section ``portal:`` of ``huaxiang.yaml``: where the web application keeps its state, who may sign in and how, its limits."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from schemas.configuration import Settings

RoleName = Literal["viewer", "marketer", "analyst", "admin"]
SignInMode = Literal["password", "oidc", "proxy"]


def _narrow(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Networks that are some, not all, of the addresses there are."""
    for one in networks:
        if ip_network(one, strict=False).prefixlen == 0:
            raise ValueError(f"{one} is every address there is; name the proxy's own network")
    return networks


class OidcSettings(Settings):
    """An OpenID Connect provider. The client's secret is the environment's; ``client_secret`` names the variable.

    ``roles`` gives a role by a value of the claim ``role_claim``; who has none of them gets ``else_role``, or no entry.
    """

    issuer: str
    client_id: str
    client_secret: str = "HUAXIANG_OIDC_SECRET"  # noqa: S105
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    login_claim: str = "preferred_username"
    role_claim: str | None = None
    roles: dict[str, RoleName] = Field(default_factory=dict)
    else_role: RoleName | None = None


class ProxySettings(Settings):
    """A proxy that signs people in and names them in a header, believed only where it comes from these networks."""

    header: str = "X-Forwarded-User"
    networks: tuple[str, ...]
    else_role: RoleName | None = None

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        if not networks:
            raise ValueError(
                "name the networks of the proxy, such as 10.0.0.0/8; a header from anywhere proves nothing"
            )
        for one in networks:
            if ip_network(one).prefixlen == 0:
                raise ValueError(f"{one} is every address there is; name the proxy's own network")
        return networks


def _admins() -> dict[str, RoleName]:
    return {"admin": "admin"}


class AirflowSettings(Settings):
    """Where the portal is mounted in Airflow: roles by those that people have there, and of everybody else."""

    roles: dict[str, RoleName] = Field(default_factory=_admins)
    else_role: RoleName | None = "viewer"


class ApprovalSettings(Settings):
    """Deliveries that a second person must approve: of more users than this (absent: of any size), or to other platforms."""

    above_users: int | None = Field(default=None, ge=0)
    outside: bool = False
    """Whether every delivery to a platform that is not the shop's own files needs it."""


class PortalLimits(Settings):
    """What one person, address or request may ask for."""

    body_mb: float = Field(default=8.0, gt=0)
    requests_per_minute: int = Field(default=600, ge=1)
    sign_ins_per_minute: int = Field(default=20, ge=1)
    failures_before_lock: int = Field(default=5, ge=1)
    lock_minutes: int = Field(default=15, ge=1)
    header_seconds: float = Field(default=10.0, gt=0)
    body_seconds: float = Field(default=30.0, gt=0)
    """Within which the head and the body of a request have come as a whole."""


class PortalSettings(Settings):
    """``state`` is a SQLite file below the project folder, or a ``postgresql://`` address without a password."""

    base_path: str = ""
    state: str = "portal/state.db"
    state_password: str = "HUAXIANG_STATE_PASSWORD"  # noqa: S105
    sign_in: tuple[SignInMode, ...] = ("password",)
    oidc: OidcSettings | None = None
    proxy: ProxySettings | None = None
    airflow: AirflowSettings = AirflowSettings()
    behind: tuple[str, ...] = ()
    """Networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    session_hours: float = Field(default=12.0, gt=0)
    idle_minutes: float = Field(default=120.0, gt=0)
    secure_cookies: bool | None = None
    """Whether cookies travel by HTTPS only; absent: on every host but this machine."""
    approval: ApprovalSettings = ApprovalSettings()
    limits: PortalLimits = PortalLimits()

    @field_validator("base_path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if path and not re.fullmatch(r"(/[\w.~-]+)+", path):
            raise ValueError(
                "begins with / and ends without, such as /huaxiang; empty where the portal has its own host"
            )
        return path

    @field_validator("behind")
    @classmethod
    def _are_proxies(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return _narrow(networks)

    @field_validator("state")
    @classmethod
    def _keeps_no_password(cls, state: str) -> str:
        if "://" in state:
            parts = urlsplit(state)
            if parts.scheme != "postgresql":
                raise ValueError(
                    f"is a file below the project folder or postgresql://HOST/DATABASE, not {parts.scheme}://"
                )
            if parts.password:
                raise ValueError("holds no password: give it in the environment (state_password names the variable)")
        return state

    @model_validator(mode="after")
    def _says_how(self) -> Self:
        if not self.sign_in:
            raise ValueError("sign_in names no way in; known are password, oidc, proxy")
        for mode in ("oidc", "proxy"):
            if mode in self.sign_in and getattr(self, mode) is None:
                raise ValueError(f"sign_in has {mode}, and the section {mode}: that says how is missing")
        return self
