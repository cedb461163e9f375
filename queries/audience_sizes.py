"""How many people a definition had, or would have had, at past releases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from deltalake.exceptions import DeltaError

from audiences.bits import how_many
from audiences.language import Audience
from audiences.plan import Plan
from lake.releases import Release, releases
from project.audience import planned, with_elders
from project.audience_tables import builds
from project.folder import Project
from queries.preview.answer import release_columns
from schemas.errors import HuaxiangError


@dataclass(frozen=True)
class SizeThen:
    """A day: people by this definition, and how many were built on the day, by whatever definition it had then.

    ``users`` is None where this definition was not built and was not judged, or cannot be: ``problem`` says why.
    """

    as_of: date
    release: int
    users: int | None
    built_users: int | None
    is_same_definition: bool | None
    problem: str | None = None


def sizes_over_releases(
    project: Project, audience: Audience, *, most: int = 8, judge: bool = True
) -> tuple[SizeThen, ...]:
    """The newest release of each of the last ``most`` days, the newest first.

    A day on which this very definition was built tells its size; every other is judged now, unless ``judge`` is false:
    the first time at a release that takes as long as a first preview. Nothing is published and no engine started.
    """
    plan = planned(project, audience)
    newest: dict[date, Release] = {}
    for one in releases(project.lake):
        if one.expired_on is None and (one.as_of not in newest or one.number > newest[one.as_of].number):
            newest[one.as_of] = one
    built = {row["as_of"]: row for row in builds(project.lake, audience.id)}
    found = []
    for day in sorted(newest, reverse=True)[:most]:
        at, row = newest[day], built.get(day)
        same = None if row is None else row["definition_hash"] == plan.definition_hash
        users, problem = None, None
        if row is not None and same and row["release"] == at.number:
            users = row["users"]
        elif judge:
            users, problem = _judged(project, at, plan)
        found.append(SizeThen(day, at.number, users, None if row is None else row["users"], same, problem))
    return tuple(found)


def _judged(project: Project, at: Release, plan: Plan) -> tuple[int | None, str | None]:
    try:
        columns = release_columns(project, at)
        users = how_many(columns.judged(with_elders(project.lake, at, plan))[0].members)
    except HuaxiangError as e:
        return None, str(e)
    except (OSError, DeltaError):
        return None, f"release {at.number} ({at.as_of}) cannot be read any more: its files are gone"
    columns.cache.trim()
    return users, None
