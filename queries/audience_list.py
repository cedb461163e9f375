"""Every audience on one page: how large it is and was, who answers for it, what uses it and when it last left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from audiences.language import Audience, definition_hash
from lake.lake import Lake
from lake.releases import Release
from project.audience_standing import standings, uses_of
from project.audience_tables import builds, deliveries
from project.folder import Project
from schemas.text import Text

MOST_SIZES = 60
BuiltState = Literal["never", "current", "older release", "changed"]


@dataclass(frozen=True)
class SizeOfDay:
    as_of: date
    users: int


@dataclass(frozen=True)
class LastDelivery:
    """When an audience last left, to whom, and how many rows."""

    at: datetime
    as_of: date
    platform: str | None
    rows: int


@dataclass(frozen=True)
class AudienceEntry:
    """An audience in the list. ``sizes`` are those of its builds, the newest last.

    ``state``: never built; built from this definition at the newest release, or at an older one; changed since it was
    built. ``problem`` is why it is out of use, or why what was built is too old.
    """

    id: str
    audience: Audience
    state: BuiltState
    sizes: tuple[SizeOfDay, ...]
    last_delivery: LastDelivery | None
    used_by: tuple[str, ...]
    problem: Text | None

    @property
    def users(self) -> int | None:
        return self.sizes[-1].users if self.sizes else None

    @property
    def folder(self) -> str:
        return self.audience.definition.folder or ""

    @property
    def moved(self) -> float | None:
        """By which share its size differs from that of the build before."""
        if len(self.sizes) < 2 or not self.sizes[-2].users:
            return None
        return self.sizes[-1].users / self.sizes[-2].users - 1


def audience_entries(project: Project, at: Release | None) -> list[AudienceEntry]:
    """All of them in order of folder and id; ``at`` is the newest release."""
    rows: dict[str, list[Mapping[str, object]]] = {}
    for row in builds(project.lake):
        rows.setdefault(str(row["audience"]), []).append(row)
    left = last_deliveries(project.lake)
    stands = {} if at is None else standings(project, at.as_of)
    found = [
        AudienceEntry(
            id=one.id,
            audience=one,
            state=_state(project, one, rows.get(one.id, []), at),
            sizes=_sizes(rows.get(one.id, [])),
            last_delivery=left.get(one.id),
            used_by=tuple(uses_of(project, one.id)),
            problem=None if at is None or one.id not in stands else stands[one.id].problem,
        )
        for one in project.audiences.values()
    ]
    return sorted(found, key=lambda e: (e.folder, e.id))


def size_history(project: Project, name: str) -> tuple[SizeOfDay, ...]:
    """Sizes of an audience over its builds, the newest last."""
    return _sizes(builds(project.lake, name))


def last_deliveries(lake: Lake) -> dict[str, LastDelivery]:
    """The newest delivery of every audience that left."""
    found: dict[str, LastDelivery] = {}
    for row in deliveries(lake):
        found.setdefault(row["audience"], LastDelivery(row["created_at"], row["as_of"], row["platform"], row["rows"]))
    return found


def _sizes(rows: list[Mapping[str, object]] | list[dict[str, object]]) -> tuple[SizeOfDay, ...]:
    return tuple(SizeOfDay(r["as_of"], r["users"]) for r in rows[-MOST_SIZES:])  # type: ignore[arg-type]


def _state(project: Project, one: Audience, rows: list[Mapping[str, object]], at: Release | None) -> BuiltState:
    if not rows:
        return "never"
    last = rows[-1]
    if last["definition_hash"] != definition_hash(one, project.audiences):
        return "changed"
    return "current" if at is not None and last["release"] == at.number else "older release"
