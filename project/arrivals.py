"""What each feed has brought by a business day: its newest day, whether it is silent for too long, what was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from features.rhythm import Silence, silence
from lake import refused
from lake.lake import Lake
from project.feed_days import feed_days
from project.folder import Project
from schemas.contracts import REFERENCE, feeds
from schemas.errors import HuaxiangError, InputError

BEHAVIOUR = tuple(c.table for c in feeds() if c.becomes is not None and c.persons)
"""Feeds without any of which a run can say nothing of what people did."""


def there(lake: Lake) -> dict[str, int]:
    """Rows in silver by feed, feeds without any left out."""
    found = {}
    for c in feeds():
        rows = sum(f.rows for f in lake.files(c.name))
        if rows:
            found[c.table] = rows
    return found


def refuse_nothing(project: Project) -> None:
    """HuaxiangError where nothing was taken that could give a user; it says what is there and what is missing."""
    have = there(project.lake)
    users = [c.table for c in feeds() if c.persons]
    if any(feed in have for feed in users):
        return
    if not have:
        waiting = refused.in_words(refused.refused(project.lake))
        more = "".join(f"\n{w}" for w in waiting)
        raise HuaxiangError(f"nothing has been ingested yet; put files into the inbox and run `huaxiang ingest`{more}")
    held = ", ".join(f"{n:,} rows of {feed}" for feed, n in have.items())
    raise HuaxiangError(
        f"there is nobody to profile: the lake holds {held}, and users come from {', '.join(users)}; "
        "map one of these (`huaxiang source draft FILE`), then `huaxiang ingest`"
    )


@dataclass(frozen=True)
class Missing:
    """What a run of a day goes without: refused files by feed, feeds that are silent, and all of it in words."""

    refused: dict[str, int] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def missing(project: Project, as_of: date, known_at: datetime | None = None) -> Missing:
    """Refused files, silent feeds, and behaviour if there is none at all.

    InputError where files were refused and the project says ``on_refused: stop``.
    """
    waiting = refused.refused(project.lake, known_at)
    told = refused.in_words(waiting)
    if told and project.settings.on_refused == "stop":
        raise InputError("the day is not run, as on_refused in huaxiang.yaml is stop:\n" + "\n".join(told))
    have = there(project.lake)
    if not any(feed in have for feed in BEHAVIOUR):
        held = ", ".join(f"{n:,} rows of {feed}" for feed, n in have.items())
        told.append(
            f"there is no behaviour: the lake holds {held} and nothing of {', '.join(BEHAVIOUR)}; tags that count what "
            "people do are empty or 0 for everybody"
        )
    long = unusual(project, as_of, known_at)
    told += [silence_in_words(feed, s, as_of) for feed, s in long.items()]
    return Missing(refused.by_feed(waiting), frozenset(long), tuple(told))


def silent(project: Project, as_of: date, known_at: datetime | None = None) -> list[str]:
    """Feeds that are silent for longer than usual, in words."""
    return [silence_in_words(feed, s, as_of) for feed, s in unusual(project, as_of, known_at).items()]


def unusual(project: Project, as_of: date, known_at: datetime | None = None) -> dict[str, Silence]:
    """By feed, where it is longer than usual."""
    return {feed: s for feed, s in silences(project, as_of, known_at).items() if s.is_unusual}


def silence_in_words(feed: str, found: Silence, as_of: date) -> str:
    """A silence that is longer than usual."""
    usual = {None: "", 1: "; it usually has rows every day"}.get(
        found.usual_days, f"; its gaps are usually {found.usual_days} days at most"
    )
    return (
        f"{feed}: no row of the {found.age_days:,} day{'s' if found.age_days > 1 else ''} up to {as_of}, its newest is of "
        f"{found.newest}{usual}; `huaxiang status` shows what was taken"
    )


def silences(project: Project, as_of: date, known_at: datetime | None = None) -> dict[str, Silence]:
    """By feed, for feeds with rows by ``as_of``."""
    found = {}
    with feed_days(project.lake, as_of, known_at) as there:
        for c in feeds():
            days = there.days(c.table, project.settings.arrivals.days)
            s = silence(days, as_of, project.settings.arrivals, is_reference=c.cadence == REFERENCE)
            if s is not None:
                found[c.table] = s
    return found
