"""Which audiences of a project are in use on a day, which are due or too old, and what each is used by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from audiences.language import Audience, named
from audiences.life import longest_gap, not_due, out_of_use
from lake import releases
from project.audience_tables import builds
from project.folder import Project
from schemas.errors import ConfigurationError, NotDueError
from schemas.text import Text


@dataclass(frozen=True)
class AudienceStanding:
    """An audience on the day of a release: ``problem`` is why it is out of use, or why what was built is too old.

    ``is_due``: it is in use, and its rhythm asks for a build.
    """

    audience: str
    is_due: bool
    in_use: bool
    waits: Text | None
    problem: Text | None


def standing_of(project: Project, audience: Audience, day: date, built: date | None) -> AudienceStanding:
    """How an audience stands on a day, where it was ``built`` last."""
    wanted = audience.definition
    out = out_of_use(wanted.state, wanted.expires, day)
    waits = not_due(wanted.refresh, day, built)
    problem = out or stale(project, audience, built, day)
    return AudienceStanding(audience.id, out is None and waits is None, out is None, waits, problem)


def standings(project: Project, day: date) -> dict[str, AudienceStanding]:
    """Every audience of the project by id."""
    last = {row["audience"]: row["as_of"] for row in builds(project.lake)}
    return {a.id: standing_of(project, a, day, last.get(a.id)) for a in project.audiences.values()}


def stale(project: Project, audience: Audience, built: date | None, day: date) -> Text | None:
    """That what was built is older than its rhythm and ``audience_stale_days`` allow; None where it is not, or never was."""
    grace = project.settings.audience_stale_days
    if built is None or grace is None:
        return None
    old, most = (day - built).days, longest_gap(audience.definition.refresh) + grace
    if old <= most:
        return None
    return Text(
        f"人群停留在 {built}，比 {day} 早 {old} 天（最多 {most} 天）",
        f"it is of {built}, {old} days before {day}, where {most} are the most",
    )


def refuse_out_of_use(audience: Audience, day: date) -> None:
    """NotDueError for a draft, for what is paused, and for what has expired by the day."""
    why = out_of_use(audience.definition.state, audience.definition.expires, day)
    if why is not None:
        raise NotDueError(
            f"audience {audience.id!r} is not built or delivered for {day}: {why.en} "
            f"({audience.path}: state, expires). `huaxiang audience preview {audience.id}` shows it all the same"
        )


def used_on(project: Project, names: Iterable[str], day: date) -> list[str]:
    """Those of the audiences that are in use on the day; NotThereError for one that there is not."""
    found = ((n, named(project.audiences, n).definition) for n in names)
    return [n for n, wanted in found if out_of_use(wanted.state, wanted.expires, day) is None]


def refuse_not_due(audience: Audience, day: date, done: date | None) -> None:
    """NotDueError where the audience was ``done`` since its rhythm asked for it last."""
    if (why := not_due(audience.definition.refresh, day, done)) is not None:
        raise NotDueError(f"audience {audience.id!r} was passed over for {day}: {why.en}")


def audiences_using(project: Project, name: str) -> list[str]:
    """Audiences whose definition names this one, directly or through another."""
    using: set[str] = set()
    while more := {a.id for a in project.audiences.values() if a.id not in using and {name, *using} & {*a.mentions()}}:
        using |= more
    return sorted(using)


def uses_of(project: Project, name: str) -> list[str]:
    """What uses an audience, a line each; NotThereError for one that there is not."""
    named(project.audiences, name)
    through = audiences_using(project, name)
    said = [f"campaign {c.id}" for c in project.campaigns.values() if {name, *through} & {*c.audiences}]
    return [*(f"audience {other}" for other in through), *said]


def unusable_but_used(project: Project) -> Iterator[str]:
    """A line per draft, paused or expired audience that others name, by the day of the latest release, with its place."""
    current = releases.latest(project.lake)
    with suppress(ConfigurationError):  # their mistakes are told by themselves
        for audience in project.audiences.values():
            day = date.min if current is None else current.as_of
            why = out_of_use(audience.definition.state, audience.definition.expires, day)
            if why is not None and (uses := uses_of(project, audience.id)):
                yield f"{audience.at(())}: audience {audience.id!r}: {why.en}; it is used by {', '.join(uses)}"
