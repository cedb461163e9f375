"""Which releases stay, and why; the others expire: their files say so, and what only they named may be removed.

A release that expired keeps its number and its place in the list, so that no number is ever given twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow.parquet as pq
from pydantic import Field

from lake.lake import Lake
from lake.releases import Release, default_target, entries, latest, releases
from schemas.configuration import Settings

NAMING = {
    "audiences.sizes": ("audience", "audience {} was built from it"),
    "exports.deliveries": ("audience", "audience {} was delivered from it"),
    "campaigns.plans": ("campaign", "campaign {} was assigned from it"),
}
"""Tables whose rows name a release, of which the newest of every audience or campaign counts."""


class CareSettings(Settings):
    """``care`` of ``huaxiang.yaml``: what ``huaxiang lake tidy`` keeps, and which files it writes together."""

    keep_release_days: int = Field(default=35, ge=1)
    most_files: int = Field(default=16, ge=2)
    file_mb: float = Field(default=32.0, gt=0)


@dataclass(frozen=True)
class Kept:
    """A release that stays, and every reason for it."""

    release: Release
    why: tuple[str, ...]


def retained(lake: Lake, keep_days: int) -> tuple[list[Kept], list[Release]]:
    """Releases that stay, and those that expire, by number.

    Kept are ``keep_days`` days up to the one that readers see and all newer ones, the last release of every month end,
    what readers see, what a rollback would bring back, what was written last, and what the newest build and delivery
    of every audience and the newest plan of every campaign name.
    """
    there, current = releases(lake), latest(lake)
    if current is None:
        return [], []
    named = [*_standing(lake, current), *_named(lake)]
    kept, gone = [], []
    for r in there:
        why = [said for number, said in named if number == r.number]
        why = [*_of_its_day(r, there, current.as_of, keep_days), *dict.fromkeys(why)]
        if why:
            kept.append(Kept(r, tuple(why)))
        else:
            gone.append(r)
    return kept, gone


def _of_its_day(r: Release, there: Sequence[Release], seen: date, keep_days: int) -> Iterator[str]:
    # Counted from what readers see: a day far ahead that was run by mistake and rolled back takes none away.
    if (seen - r.as_of).days < keep_days:
        yield f"one of the last {keep_days} days"
    is_last = r.number == max(e.number for e in there if e.as_of == r.as_of)
    if is_last and (r.as_of + timedelta(days=1)).day == 1:
        yield "a month's end"


def _standing(lake: Lake, current: Release) -> Iterator[tuple[int, str]]:
    """Numbers that must stay whatever their day is."""
    written = entries(lake)[-1]
    yield written.rollback_to or written.number, "written last"
    yield current.number, "what readers see"
    if (older := default_target(lake, current)) is not None:
        yield older.number, "what a rollback brings back"


def _named(lake: Lake) -> Iterator[tuple[int, str]]:
    """Numbers that the newest row of every audience and campaign names."""
    for table, (whose, said) in NAMING.items():
        newest: dict[str, tuple[date, int]] = {}
        files = lake.files(table)
        for f, path in zip(files, lake.local(files), strict=True):
            with pq.ParquetFile(path) as file:
                have = [n for n in (whose, "as_of", "release") if n in file.schema_arrow.names]
                rows = file.read(have).to_pylist()
            for row in ({**f.partition, **r} for r in rows):
                mine = (row["as_of"], row["release"])
                newest[row[whose]] = max(newest.get(row[whose], mine), mine)
        for name, (_, number) in sorted(newest.items()):
            yield number, said.format(name)


def by_reason(kept: Sequence[Kept]) -> dict[str, list[int]]:
    """Numbers of releases by the reason for which they stay."""
    found: dict[str, list[int]] = {}
    for k in kept:
        for why in k.why:
            found.setdefault(why, []).append(k.release.number)
    return found
