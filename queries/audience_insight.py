"""What an audience is like: whom it shares with others, and by which values of tags its people stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pydantic import Field

from audiences.bits import BitColumn, Bits, how_many
from audiences.language import named
from audiences.plan import Test
from features.standing_out import chance_of_difference
from features.tags import Tag
from lake.releases import release
from project.folder import Project
from queries.preview.answer import people_at, release_columns
from queries.preview.release_columns import ReleaseColumns
from schemas.configuration import Settings
from schemas.errors import HuaxiangError
from schemas.money import money_cell

METHOD = "audiences"


class AudienceSettings(Settings):
    """``methods/audiences.yaml``: when audiences are nearly the same, and what of an audience is worth telling.

    ``sample_tags`` are told of each person of a masked sample.
    """

    nearly_same: float = Field(default=0.9, gt=0, le=1)
    false_discovery: float = Field(default=0.05, gt=0, le=1)
    least_users: int = Field(default=30, ge=1)
    most_values: int = Field(default=100, ge=2)
    bands: int = Field(default=4, ge=2, le=20)
    sample_tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overlap:
    """An audience beside the one that is asked for: its people, those of both, and which share of each they are.

    ``jaccard``: those of both among those of either. ``problem`` says why it cannot be judged at the release.
    """

    audience: str
    users: int
    in_both: int
    share_of_asked: float
    share_of_other: float
    jaccard: float
    is_nearly_same: bool
    problem: str | None = None


@dataclass(frozen=True)
class Overlaps:
    """Every other audience at the release, those that share most first."""

    audience: str
    release: int
    as_of: date
    users: int
    others: tuple[Overlap, ...]


@dataclass(frozen=True)
class Trait:
    """A value of a tag, or a band of its numbers, that the audience's people have more often or less often than others.

    Shares are of the people of whom the tag is known. ``q`` is the false discovery rate at which it is still a finding.
    """

    tag: str
    zh: str
    en: str
    value: str
    users: int
    share: float
    share_of_base: float
    lift: float | None
    q: float


@dataclass(frozen=True)
class AudienceProfile:
    """``looks`` values were compared among members of the shop; ``left_out`` tags have too many values."""

    audience: str
    release: int
    as_of: date
    members: int
    base_members: int
    looks: int
    traits: tuple[Trait, ...]
    left_out: tuple[str, ...]


def overlaps(project: Project, name: str, *, which: int | str | None = None) -> Overlaps:
    """Whom an audience shares with every other one, each judged by its definition at one release."""
    at = release(project.lake, which)
    columns = release_columns(project, at)
    found = overlaps_of(project, columns, name, people_at(project, columns, named(project.audiences, name)))
    columns.cache.trim()
    return found


def overlaps_of(project: Project, columns: ReleaseColumns, name: str, mine: Bits) -> Overlaps:
    """The same of any people; the audience called ``name`` is not held against them."""
    at = columns.at
    nearly = project.method(METHOD, AudienceSettings).nearly_same
    users, found = how_many(mine), []
    for other in project.audiences:
        if other == name:
            continue
        try:
            theirs = people_at(project, columns, project.audiences[other])
        except HuaxiangError as e:
            found.append(Overlap(other, 0, 0, 0.0, 0.0, 0.0, False, str(e)))
            continue
        many, both = how_many(theirs), how_many(mine & theirs)
        jaccard = _share(both, users + many - both)
        found.append(
            Overlap(other, many, both, _share(both, users), _share(both, many), jaccard, both > 0 and jaccard >= nearly)
        )
    found.sort(key=lambda o: (o.problem is not None, -o.jaccard, o.audience))
    return Overlaps(name, at.number, at.as_of, users, tuple(found))


def audience_profile(
    project: Project, name: str, *, which: int | str | None = None, tags: Sequence[str] = ()
) -> AudienceProfile:
    """Values of tags (of all, or of these) that the audience's members have more or less often than the shop's others.

    Only members of the shop are compared: visitors would swamp every share. Numbers and days are compared by bands with
    about as many members each. NotThereError for a tag that is newer than the release.
    """
    at = release(project.lake, which)
    columns = release_columns(project, at)
    found = profile_of_people(
        project, columns, name, people_at(project, columns, named(project.audiences, name)), tags=tags
    )
    columns.cache.trim()
    return found


def profile_of_people(
    project: Project, columns: ReleaseColumns, name: str, people: Bits, *, tags: Sequence[str] = ()
) -> AudienceProfile:
    """The same of any people, under the name of an audience."""
    # It brings scipy along, which a preview need not pay for.
    from campaigns.learning import false_discovery

    at = columns.at
    settings = project.method(METHOD, AudienceSettings)
    base = columns.members()
    mine = people & base
    looks: list[tuple[Tag, str, tuple[int, int, int, int]]] = []
    left_out = []
    for tag in (project.catalogue.tag(t) for t in tags or project.catalogue.tags):
        column = columns.profile.columns({tag.id: tag.type})[tag.id]
        bands = _bands(column, tag, base, settings, project.currency)
        if bands is None:
            left_out.append(tag.id)
            continue
        some, known = how_many(mine & column.known), how_many(base & column.known)
        for said, having in bands:
            some_with, with_it = how_many(mine & having), how_many(base & having)
            looks.append((tag, said, (some_with, some, with_it, known)))
    chances = [chance_of_difference(a, n, k - a, of - n) for _, _, (a, n, k, of) in looks]
    traits = [
        _trait(tag, said, counts, q)
        for (tag, said, counts), q in zip(looks, false_discovery(chances).tolist(), strict=True)
        if q <= settings.false_discovery and max(counts[0], counts[2] - counts[0]) >= settings.least_users
    ]
    traits.sort(key=lambda t: (-abs(t.share - t.share_of_base), -t.share, t.tag, t.value))
    return AudienceProfile(
        name, at.number, at.as_of, how_many(mine), how_many(base), len(looks), tuple(traits), tuple(left_out)
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _trait(tag: Tag, said: str, counts: tuple[int, int, int, int], q: float) -> Trait:
    some_with, some, with_it, known = counts
    share, of_base = _share(some_with, some), _share(with_it, known)
    lift = share / of_base if of_base else None
    return Trait(tag.id, tag.name.zh, tag.name.en, said, some_with, share, of_base, lift, q)


def _bands(
    column: BitColumn, tag: Tag, base: Bits, settings: AudienceSettings, currency: str
) -> list[tuple[str, Bits]] | None:
    """Who has each value of a tag, or lies in each band of its numbers; None for a text of too many values."""
    if tag.type == "bool":
        return [(str(v).lower(), _held(column, tag, base, Test(op="is", values=(v,)))) for v in (True, False)]
    if tag.type == "string":
        values = [str(v) for v in column.values or ()]
        if len(values) > settings.most_values:
            return None
        return [(v, _held(column, tag, base, Test(op="is", values=(v,)))) for v in values]
    cuts = column.quantiles(base, settings.bands)
    shown = [_shown(cut, tag, currency) for cut in cuts]
    found = []
    for i in range(len(cuts) + 1):
        held = column.known & base
        if i:
            held = held & _held(column, tag, base, Test(op="at_least", values=(_operand(cuts[i - 1], tag),)))
        if i < len(cuts):
            held = held & _held(column, tag, base, Test(op="below", values=(_operand(cuts[i], tag),)))
        said = f"{shown[i - 1]} .." if i else ""
        said += f" < {shown[i]}" if i < len(cuts) else ""
        found.append((said.strip(), held))
    return found if cuts else []


def _held(column: BitColumn, tag: Tag, base: Bits, test: Test) -> Bits:
    return column.truth([test], tag.type, base).true & base


def _operand(value: Any, tag: Tag) -> Any:
    return _day(value).isoformat() if tag.type == "date" else value


def _shown(value: Any, tag: Tag, currency: str) -> str:
    if tag.type == "date":
        return _day(value).isoformat()
    return money_cell(value, currency) if tag.unit == "minor" else f"{value:g}"


def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=int(number))
