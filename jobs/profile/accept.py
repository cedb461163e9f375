"""``huaxiang tag accept``: the new level of a held tag becomes the one to compare with, from the next run on."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.profile.quality import ACCEPTANCES
from lake import journal
from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from project.folder import Project
from project.held import QUALITY, quality_rows
from schemas.arrow import arrow_schema
from schemas.contracts import contract


@dataclass(frozen=True)
class Accepted:
    """One held tag whose new level was accepted, now or before."""

    tag: str
    held_since: date
    accepted_by: str
    accepted_at: datetime
    already: bool


@dataclass(frozen=True)
class Acceptance:
    """What was accepted, of the newest day that was run, and which of the tags asked for are not held there."""

    as_of: date | None
    accepted: tuple[Accepted, ...]
    not_held: tuple[str, ...]


def accept(project: Project, tag: str | None, *, accepted_by: str) -> Acceptance:
    """Accept the level of one held tag, or of all (``tag`` absent); NotThereError names the nearest tag.

    What was accepted before is left as it is.
    """
    lake = project.lake
    if tag is not None:
        project.catalogue.tag(tag)
    as_of = max((f.partition["as_of"] for f in lake.files(QUALITY)), default=None)
    rows = [] if as_of is None else quality_rows(lake, as_of)
    held = {r["tag"]: r["held_since"] for r in rows if r["held_since"] is not None}
    wanted = {n: since for n, since in sorted(held.items()) if tag in (None, n)}
    with lock(lake, ACCEPTANCES, wait_seconds=30):
        journal.recover(lake)
        before = {(r["tag"], r["held_since"]): r for r in acceptances(lake)}
        now = datetime.now(UTC).replace(microsecond=0)
        new = [
            {"tag": n, "held_since": since, "accepted_by": accepted_by, "created_at": now}
            for n, since in wanted.items()
            if (n, since) not in before
        ]
        if new:
            _publish(lake, new)
    known = {(r["tag"], r["held_since"]): r for r in (*new, *before.values())}
    found = tuple(
        Accepted(n, since, r["accepted_by"], r["created_at"], already=(n, since) in before)
        for n, since in wanted.items()
        for r in [known[n, since]]
    )
    return Acceptance(as_of, found, () if tag is None or tag in held else (tag,))


def acceptances(lake: Lake) -> list[dict[str, Any]]:
    """Rows of ``profile.tag_acceptances``."""
    files = lake.local(lake.files(ACCEPTANCES))
    return [r for path in files for r in pq.read_table(path, partitioning=None).to_pylist()]


def _publish(lake: Lake, rows: list[dict[str, Any]]) -> None:
    run_id = f"accept-{uuid.uuid4().hex[:10]}"
    try:
        lake.ensure(ACCEPTANCES)
        folder = lake.stage(ACCEPTANCES, run_id)
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(contract(ACCEPTANCES))), folder / "accepted.parquet")
        publish(lake, ACCEPTANCES, folder, replace=None, read_version=None, run_id=run_id, key=f"accepted-{run_id}")
    finally:
        journal.finish(lake, run_id)
