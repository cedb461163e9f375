"""``huaxiang audience preview``: size, funnel and a sample, and how many of them an export would reach."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from audiences.bits import Bits, flags, how_many
from audiences.language import Audience
from audiences.tally import FunnelStep
from features.kernel.arrays import to_arrow
from lake.local_cache import LocalCache
from lake.releases import Release, release
from project.audience import held_notes, plan_of, planned, switched_off_notes, with_elders
from project.audience_file import digests_in_words, file_rows
from project.folder import Project
from project.platforms import target_of
from queries.preview.release_columns import ReleaseColumns
from schemas.money import money_cell

NOT_KEPT = (
    "the lake's folder cannot be written, so what a preview reads is made anew each time; let it write there once, "
    "or ask as somebody who can"
)


@dataclass(frozen=True)
class Preview:
    """What an audience would be at a release: size, members and visitors apart, a funnel, and a sample.

    ``deliverable`` would stand in the file, were it exported now; ``left_out`` counts the others by reason.
    """

    audience: str
    release: int
    as_of: date
    base_users: int
    users: int
    members: int
    anonymous: int
    deliverable: int
    left_out: dict[str, int]
    contacts_withheld: dict[str, dict[str, int]]
    steps: tuple[FunnelStep, ...]
    sample: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def release_columns(project: Project, at: Release) -> ReleaseColumns:
    """The columns of a release, in the project's cache."""
    return ReleaseColumns(project.lake, at, LocalCache(project.lake.store, int(project.settings.preview_gb * 2**30)))


def people_at(project: Project, columns: ReleaseColumns, audience: Audience) -> Bits:
    """The people of an audience at the columns' release; it may be one that is still being written."""
    found, _ = columns.judged(with_elders(project.lake, columns.at, planned(project, audience)))
    return found.members


def preview(project: Project, name: str, *, which: int | str | None = None, sample: int = 10) -> Preview:
    """Size, funnel and a sample. Nothing is written but columns that the next preview finds ready."""
    audience, plan = plan_of(project, name)
    at = release(project.lake, which)
    plan = with_elders(project.lake, at, plan)
    columns = release_columns(project, at)
    tally, names = columns.judged(plan)
    users, members = how_many(tally.members), how_many(tally.members & columns.members())
    rows = np.flatnonzero(flags(tally.members, tally.users))
    shown = [c for c in ("is_member", *audience.definition.export.columns) if c != "as_of"]
    first = columns.profile.first_by_user_id(rows, sample, shown)
    uids = to_arrow(columns.profile.uid[rows], None, pa.int64())
    with file_rows(project, audience, at, uids, target_of(project, audience)) as file:
        pass  # what would leave is counted, and nothing of it read
    columns.cache.trim()
    kept = () if columns.cache.is_shared else (NOT_KEPT,)
    return Preview(
        audience=audience.id,
        release=at.number,
        as_of=at.as_of,
        base_users=tally.users,
        users=users,
        members=members,
        anonymous=users - members,
        deliverable=file.rows,
        left_out={reason: n for reason, n in file.left_out.items() if n},
        contacts_withheld=file.withheld,
        steps=tally.steps,
        sample=tuple({k: _shown(project, k, v) for k, v in row.items()} for row in first),
        warnings=(
            *switched_off_notes(audience),
            *held_notes(project, audience, plan, at),
            *names,
            *file.notes,
            *digests_in_words(file),
            *kept,
        ),
    )


def _shown(project: Project, column: str, value: Any) -> Any:
    """A value of a sample as people read it: days in ISO form, money in main units."""
    tag = project.catalogue.tags.get(column)
    if value is not None and tag is not None and tag.unit == "minor":
        return money_cell(value, project.currency)
    return value.isoformat() if isinstance(value, date) else value
