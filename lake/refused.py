"""Files that were refused: remembered in the manifest until they are taken or dismissed, and told wherever a user looks.

A refused file is one row a source and name, whatever it held: the row of a later attempt takes its place and keeps the
time since when the file waits. It goes when a file of its name or content is taken for the feed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from lake.lake import Lake
from lake.manifest import ManifestRow, manifest, publish_manifest
from schemas.errors import NotThereError

REFUSED, DISMISSED = "refused", "dismissed"
SHOWN = 5
"""Names in a sentence; the count is always whole, and ``huaxiang status`` lists every file."""


@dataclass(frozen=True)
class Attempt:
    """One file that an ingest looked at. ``why`` absent: its rows count, of now or before. ``checksum`` empty: not readable."""

    feed: str
    source: str
    file: str
    checksum: str = ""
    bytes: int = 0
    why: str | None = None


def refused(lake: Lake, known_at: datetime | None = None) -> list[ManifestRow]:
    """Files that wait, oldest first; those that were refused by ``known_at`` only, if given."""
    rows = [r for r in manifest(lake) if r.state == REFUSED]
    if known_at is not None:
        rows = [r for r in rows if r.ingested_us <= known_at.timestamp() * 1e6]
    return sorted(rows, key=lambda r: (r.ingested_us, r.feed, r.file, r.source))


def by_feed(rows: Iterable[ManifestRow]) -> dict[str, int]:
    """Refused files by feed, in order of name."""
    return dict(sorted(Counter(r.feed for r in rows).items()))


def since(row: ManifestRow) -> datetime:
    return datetime.fromtimestamp(row.ingested_us / 1e6, UTC)


def reason_of(r: ManifestRow) -> str:
    """The message without the name that it begins with."""
    return (r.message or "").removeprefix(f"{r.file}: ")


def as_values(r: ManifestRow) -> dict[str, Any]:
    """What a user is told of one file."""
    return {"file": r.file, "feed": r.feed, "source": r.source, "since": since(r), "why": reason_of(r)}


def in_words(rows: Sequence[ManifestRow]) -> list[str]:
    """A sentence a feed: how many of its files are missing from every number, and which."""
    told = []
    for feed, n in by_feed(rows).items():
        names = [r.file for r in rows if r.feed == feed]
        shown = ", ".join(names[:SHOWN]) + (f" and {n - SHOWN:,} more" if n > SHOWN else "")
        told.append(
            f"{n:,} refused file{'s' if n > 1 else ''} of {feed} {'are' if n > 1 else 'is'} in no number: {shown}; "
            "`huaxiang status` says why; mend and ingest again, or `huaxiang ingest --dismiss FILE`"
        )
    return told


def remember(
    lake: Lake, attempts: Sequence[Attempt], feeds: Collection[str], received_at: datetime, run_id: str
) -> list[ManifestRow]:
    """Bring the rows of refused files to what an ingest of ``feeds`` saw; nothing is written where nothing changed.

    Of several attempts on a file the last counts. Returned are files that were refused before and that the ingest did not see.
    """
    waiting = [r for r in manifest(lake, feeds) if r.state in (REFUSED, DISMISSED)]
    taken = [a for a in attempts if a.why is None]
    names = {(a.feed, a.file) for a in taken}
    contents = {(a.feed, a.checksum) for a in taken if a.checksum}
    latest = {(a.source, a.file): a for a in attempts}
    failed = {key: a for key, a in latest.items() if a.why is not None}
    gone, new, unseen = [], [], []
    for row in waiting:
        key = (row.source, row.file)
        if key in failed:
            again = _row(failed.pop(key), received_at)
            if row.state == REFUSED:
                again.ingested_us = row.ingested_us
            if again != row:
                gone.append(row)
                new.append(again)
        elif (row.feed, row.file) in names or (row.feed, row.checksum) in contents:
            gone.append(row)
        elif row.state == REFUSED:
            unseen.append(row)
    new += [_row(a, received_at) for a in failed.values()]
    if gone or new:
        publish_manifest(lake, new, [], run_id, f"refused-{run_id}-{uuid.uuid4().hex[:8]}", gone)
    return unseen


def dismiss(lake: Lake, patterns: Sequence[str], run_id: str) -> list[ManifestRow]:
    """The refused files whose name below the inbox is one of ``patterns``, no longer waited for.

    NotThereError for a pattern that no refused file matches; nothing is dismissed then.
    """
    there = refused(lake)
    chosen: list[ManifestRow] = []
    for pattern in patterns:
        found = [r for r in there if is_named(r.file, pattern)]
        if not found:
            names = ", ".join(r.file for r in there[:SHOWN]) + (" ..." if len(there) > SHOWN else "")
            known = f"{len(there):,} are: {names}" if there else "none is"
            raise NotThereError(f"--dismiss: no refused file matches {pattern!r}; {known}")
        chosen += [r for r in found if r not in chosen]
    publish_manifest(lake, [], [replace(r, state=DISMISSED) for r in chosen], run_id, f"dismissed-{run_id}")
    return chosen


def is_named(file: str, pattern: str) -> bool:
    """Whether a pattern of names means the file; a file's own name means it, whatever signs of a pattern it holds."""
    return file == pattern or fnmatchcase(file, pattern)


def is_dismissed(rows: Iterable[ManifestRow], source: str, file: str, checksum: str) -> bool:
    """Whether this content was dismissed under this name: another content of the name is tried."""
    return any(r.state == DISMISSED and (r.source, r.file, r.checksum) == (source, file, checksum) for r in rows)


def _row(a: Attempt, at: datetime) -> ManifestRow:
    return ManifestRow(
        feed=a.feed,
        source=a.source,
        file=a.file,
        path="",
        checksum=a.checksum,
        bytes=a.bytes,
        columns="",
        rows_read=0,
        rows_not_selected=0,
        rows_silver=0,
        rows_duplicate=0,
        rows_quarantined=0,
        rows_late=0,
        dst_moved=0,
        late_days_p95=None,
        late_days_max=None,
        event_first_us=None,
        event_last_us=None,
        state=REFUSED,
        batch_id="refused-" + hashlib.sha256(f"{a.source}\0{a.file}".encode()).hexdigest()[:16],
        ingested_us=int(at.timestamp() * 1_000_000),
        message=a.why,
    )
