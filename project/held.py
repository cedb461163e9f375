"""Which tags are held on a released day, and which tags, audiences and figures are made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow.parquet as pq

from audiences.language import Audience
from audiences.plan import Plan
from features.catalogue import Catalogue
from lake.lake import Lake
from lake.releases import Release
from schemas.alerts import SEGMENTED_BY
from schemas.contracts import contract

QUALITY = "profile.tag_quality"
Row = dict[str, Any]


@dataclass(frozen=True)
class Marks:
    """Held tags with the day since when, and by tag those of them that it comes from."""

    since: dict[str, date] = field(default_factory=dict)
    held_by: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, other: Marks) -> Marks:
        """The marks of two days; of a tag that is held on both, the earlier since."""
        since = {n: min(m.since[n] for m in (self, other) if n in m.since) for n in {*self.since, *other.since}}
        made = {*self.held_by, *other.held_by}
        held_by = {n: tuple(sorted({*self.held_by.get(n, ()), *other.held_by.get(n, ())})) for n in sorted(made)}
        return Marks(dict(sorted(since.items())), held_by)

    def of(self, tags: Iterable[str]) -> dict[str, date]:
        """Held tags that any of these comes from, with the day since when."""
        found = {h for n in tags for h in self.held_by.get(n, ())}
        return {n: day for n, day in self.since.items() if n in found}


def marks(lake: Lake, catalogue: Catalogue, day: date, version: int | None = None) -> Marks:
    """The marks of a day in a version of the quality rows (the newest if absent)."""
    since = {r["tag"]: r["held_since"] for r in quality_rows(lake, day, version) if r["held_since"] is not None}
    return Marks(dict(sorted(since.items())), catalogue.held_by(n for n in since if n in catalogue.tags))


def marks_of(lake: Lake, catalogue: Catalogue, at: Release, day: date | None = None) -> Marks:
    """The marks of a release's day, or of another day that it has."""
    return marks(lake, catalogue, day or at.as_of, at.tables[QUALITY]) if QUALITY in at.tables else Marks()


def tags_of(catalogue: Catalogue, audience: Audience, plan: Plan) -> set[str]:
    """Profile columns that an audience judges by, lists its people by or writes into its file."""
    moved = (catalogue.of_role(SEGMENTED_BY[a]) for a in plan.alerts)
    return {*plan.tags_read(), *audience.definition.export.columns, *(tag for tag in moved if tag is not None)}


def held_in_words(held: Mapping[str, date]) -> str:
    """Held tags with the day since when."""
    return ", ".join(f"{n} (held since {day})" for n, day in held.items())


def remedy(catalogue: Catalogue, held: Iterable[str]) -> str:
    """What ends it: a tag whose owner asks for it waits to be accepted, any other is published by the next run."""
    wished = [n for n in held if n in catalogue.tags and catalogue.tags[n].on_break == "hold"]
    if not wished:
        return "the next run publishes it"
    return f"`huaxiang tag accept {wished[0] if len(wished) == 1 else '--all'}` and a run publish the new values"


def quality_rows(lake: Lake, day: date, version: int | None = None) -> list[Row]:
    """Rows of ``profile.tag_quality`` of a day; what an older lake has not is None."""
    return stored_rows(lake.local(lake.files(QUALITY, version, where={"as_of": day})))


def stored_rows(files: Iterable[str]) -> list[Row]:
    """Those of files of ``profile.tag_quality``."""
    names = [n for n in contract(QUALITY).column_names if n != "as_of"]
    rows = (r for path in files for r in pq.ParquetFile(path).read().to_pylist())
    return [{n: row.get(n) for n in names} for row in rows]
