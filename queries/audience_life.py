"""The life of a definition: who changed it when and why, what a change did to its people, and what uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from audiences.bits import Bits, flags, how_many
from audiences.compiler import compile_audience
from audiences.language import Audience, Definition, definition_hash, named
from audiences.plan import Plan
from lake.releases import Release, release
from project.attributes import attributes
from project.audience import with_elders
from project.audience_standing import uses_of
from project.audience_tables import AudienceVersion, builds, definitions_of
from project.folder import Project
from queries.preview.answer import release_columns
from schemas.configuration import validated
from schemas.errors import HuaxiangError, NotThereError

AS_IN_FILES = "now"
"""In place of a version's number: the definition as it stands in the project's files."""
SAMPLE = 10


@dataclass(frozen=True)
class VersionOfAudience:
    """A version that was built; ``users`` and ``built_as_of`` are of its last build. ``is_current``: the files say the same."""

    version: int
    definition_hash: str
    requested_by: str
    reason: str | None
    created_at: datetime
    built_as_of: date | None
    users: int | None
    is_current: bool


@dataclass(frozen=True)
class ComparedVersions:
    """Two definitions at one release: people of the older, of the newer, of both, and a sample of who came and who went.

    ``changed`` are the parts of the definition that differ, from what to what.
    """

    audience: str
    older: str
    newer: str
    release: int
    as_of: date
    users_before: int
    users_after: int
    stayed: int
    gained: int
    lost: int
    sample_gained: tuple[str, ...]
    sample_lost: tuple[str, ...]
    changed: tuple[str, ...]


def history_of(project: Project, name: str) -> list[VersionOfAudience]:
    """Every version of an audience, the newest first."""
    wanted = definition_hash(named(project.audiences, name), project.audiences)
    last = {row["definition_hash"]: row for row in builds(project.lake, name)}
    found = definitions_of(project.lake, name)
    return [
        VersionOfAudience(
            version=v.version,
            definition_hash=v.definition_hash,
            requested_by=v.requested_by,
            reason=v.reason,
            created_at=v.created_at,
            built_as_of=last[v.definition_hash]["as_of"] if v.definition_hash in last else None,
            users=last[v.definition_hash]["users"] if v.definition_hash in last else None,
            is_current=v.definition_hash == wanted and v.version == found[-1].version,
        )
        for v in reversed(found)
    ]


def compared_versions(
    project: Project,
    name: str,
    older: int | str | None = None,
    newer: int | str = AS_IN_FILES,
    *,
    which: int | str | None = None,
) -> ComparedVersions:
    """Two versions by their people at a release; absent, the older is the last one that differs from the newer.

    NotThereError for a version that there is not. Nothing is built and no engine is started.
    """
    at = release(project.lake, which)
    after = _definitions(project, name, newer)
    if older is None:
        older = _last_other(project, name, after)
    before = _definitions(project, name, older)
    columns = release_columns(project, at)
    was, now = (columns.judged(_plan(project, at, name, d))[0] for d in (before, after))
    columns.cache.trim()
    gained, lost = now.members & ~was.members, was.members & ~now.members

    def some(bits: Bits) -> tuple[str, ...]:
        rows = np.flatnonzero(flags(bits, now.users))
        return tuple(r["user_id"] for r in columns.profile.first_by_user_id(rows, SAMPLE, ["user_id"]))

    return ComparedVersions(
        audience=name,
        older=str(older),
        newer=str(newer),
        release=at.number,
        as_of=at.as_of,
        users_before=how_many(was.members),
        users_after=how_many(now.members),
        stayed=how_many(was.members & now.members),
        gained=how_many(gained),
        lost=how_many(lost),
        sample_gained=some(gained),
        sample_lost=some(lost),
        changed=tuple(_differences(before, after)),
    )


def file_to_delete(project: Project, name: str) -> Path:
    """The audience's file; HuaxiangError that names what uses it, where something does."""
    if uses := uses_of(project, name):
        raise HuaxiangError(f"audience {name!r} is used by {', '.join(uses)}; change these first")
    return named(project.audiences, name).path


def _definitions(project: Project, name: str, version: int | str) -> Mapping[str, Any]:
    """The audience's definition and all that it refers to, as a version had them."""
    if version == AS_IN_FILES:
        named(project.audiences, name)
        return {one.id: one.content for one in project.audiences.values()}
    found = definitions_of(project.lake, name)
    for one in found:
        if str(one.version) == str(version):
            return one.definitions
    there = ", ".join(str(v.version) for v in found) or "none yet; a build notes the first"
    raise NotThereError(f"audience {name!r} has no version {version}; there are: {there}")


def _last_other(project: Project, name: str, after: Mapping[str, Any]) -> int:
    """The newest version that says something else."""
    others: list[AudienceVersion] = [
        v for v in definitions_of(project.lake, name) if any(after.get(n) != d for n, d in v.definitions.items())
    ]
    if not others:
        raise NotThereError(
            f"audience {name!r} has no version that differs; `huaxiang audience versions {name}` lists them"
        )
    return others[-1].version


def _plan(project: Project, at: Release, name: str, definitions: Mapping[str, Any]) -> Plan:
    """Compiled against today's catalogue."""
    audiences = {n: _read(project, n, content) for n, content in definitions.items()}
    plan = compile_audience(audiences[name], audiences, attributes(project.catalogue), currency=project.currency)
    return with_elders(project.lake, at, plan)


def _read(project: Project, name: str, content: Any) -> Audience:
    """An audience from its content; mistakes (a tag that is gone since) name the lines of it as it would be written."""
    path = project.folder / "audiences" / f"{name}.yaml"
    written = _as_written(content)
    node = yaml.compose(yaml.safe_dump(written, allow_unicode=True, sort_keys=False))
    assert node is not None, name
    return Audience(name, path, validated(Definition, written, node, path), node)


def _as_written(part: Any) -> Any:
    """Without lists that were left out: a kept definition has them empty, a file never."""
    if isinstance(part, dict):
        return {k: _as_written(v) for k, v in part.items() if v != []}
    return [_as_written(v) for v in part] if isinstance(part, list) else part


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each part of the definitions that differs, where it stands, from what to what."""
    found: list[str] = []

    def walk(place: str, old: Any, new: Any) -> None:
        if old == new:
            return
        if isinstance(old, dict) and isinstance(new, dict):
            for key in dict.fromkeys((*old, *new)):
                walk(f"{place}.{key}", old.get(key), new.get(key))
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            for i, (a, b) in enumerate(zip(old, new, strict=True)):
                walk(f"{place}[{i}]", a, b)
        else:
            found.append(f"{place}: {_short(old)} -> {_short(new)}")

    for name in before:
        walk(name, before[name], after.get(name))
    return found


def _short(value: Any) -> str:
    return (
        "nothing"
        if value is None
        else yaml.safe_dump(value, allow_unicode=True, default_flow_style=True).split("\n...")[0].strip()
    )
