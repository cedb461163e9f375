"""What may be done in the portal, and which role may do it. Every route names one of these permissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from project.portal_settings import RoleName
from schemas.text import Text

Permission = Literal[
    "home.read",
    "tags.read",
    "segments.read",
    "audiences.read",
    "audiences.write",
    "audiences.deliver",
    "deliveries.read",
    "deliveries.download",
    "deliveries.approve",
    "campaigns.read",
    "jobs.read",
    "users.read",
    "users.unmask",
    "admin",
]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
_VIEWER: frozenset[Permission] = frozenset(p for p in PERMISSIONS if p.endswith(".read") and p != "users.read")
_MARKETER: frozenset[Permission] = _VIEWER | {
    "audiences.write",
    "audiences.deliver",
    "deliveries.download",
    "users.read",
}
_ANALYST: frozenset[Permission] = _MARKETER | {"users.unmask"}
ROLE_MAY: dict[RoleName, frozenset[Permission]] = {
    "viewer": _VIEWER,
    "marketer": _MARKETER,
    "analyst": _ANALYST,
    "admin": frozenset(PERMISSIONS),
}
ROLE_NAMES: dict[RoleName, Text] = {
    "viewer": Text("查看者", "Viewer"),
    "marketer": Text("运营", "Marketer"),
    "analyst": Text("分析师", "Analyst"),
    "admin": Text("管理员", "Admin"),
}


@dataclass(frozen=True)
class Person:
    """Who asks, and what this request of theirs may do: a token's scopes bound the role's permissions."""

    id: int
    login: str
    name: str
    role: RoleName
    permissions: frozenset[Permission]
    language: str | None = None
    theme: str | None = None

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    @property
    def shown(self) -> str:
        return self.name or self.login
