"""``huaxiang lake tidy``: releases expire, small files are written together, and what nothing names is removed.

Everything happens in this order: first what expires is written, then tables are compacted, each in one version, then
files are removed that neither a kept release nor the newest version nor a step's note names. So a lake whose tidying
was killed is one that every kept release reads, and the next tidying finishes the work. Files that this tidying
replaced are left to the next one: somebody may be reading them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date

from deltalake.exceptions import DeltaError

from lake import journal
from lake.compaction import bundles, compact, noted_versions
from lake.journal import new_run_id
from lake.lake import Lake
from lake.locks import lock, refuse_lost
from lake.releases import Release, expire, newest_versions
from lake.retention import CareSettings, Kept, retained
from lake.shown import Shown, unseen
from lake.store import in_one_line
from schemas.contracts import FEEDS, contracts

WRITERS = ("run", *(f"silver.{feed}" for feed in FEEDS), "profile.tag_acceptances")
BESIDE_RUNS = ("audiences", "campaigns", "exports", "landing", "ops")
"""Who writes takes ``run``, a feed's silver, or a table of these layers."""
FOLDERS = "d-"
"""What the name of a staging folder begins with: what lies elsewhere is nobody's of ours."""
CHECKPOINT_AFTER = 10
"""Versions since the last checkpoint from which a tidied table gets a new one, so that opening it stays cheap."""
BATCH = 500
"""Files that are removed between two looks at whether the locks are still held."""

Named = Mapping[str, Collection[int]]
"""By table, the versions that something names."""


@dataclass
class TableCare:
    """What was done for one table, or would be: files and bytes that were written together, that were freed, and that stay."""

    table: str
    compacted_files: int = 0
    compacted_bytes: int = 0
    compacted_into: int = 0
    freed_files: int = 0
    freed_bytes: int = 0
    files: int = 0
    bytes: int = 0

    @property
    def is_touched(self) -> bool:
        return bool(self.compacted_files or self.freed_files)


@dataclass(frozen=True)
class Tidied:
    """What a tidying did, or with ``dry_run`` would do. ``notes`` are what who asked must know."""

    dry_run: bool
    expired: list[Release]
    kept: list[Kept]
    tables: list[TableCare]
    notes: list[str] = field(default_factory=list)

    @property
    def freed_bytes(self) -> int:
        return sum(t.freed_bytes for t in self.tables)


def tidy(
    lake: Lake,
    settings: CareSettings,
    today: date,
    *,
    dry_run: bool = False,
    step: Shown = unseen,
) -> Tidied:
    """Expire releases, compact tables and free space; with ``dry_run`` tell what that would be and touch nothing.

    LockedError while a run, an ingest, a build or a delivery holds the lake. ``today`` is written into what expires;
    which releases do goes by their own days.
    """
    with nullcontext() if dry_run else lock(lake, *_locks()):
        with step("releases"):
            kept, gone = retained(lake, settings.keep_release_days)
            by = f"keep_release_days: {settings.keep_release_days}"
            expired = gone if dry_run else [expire(lake, r, today, by) for r in gone]
        done = Tidied(dry_run, expired, kept, [])
        newest, pinned = lake.versions(), [k.release.tables for k in kept]
        noted = noted_versions(lake)
        named = _named([newest, *pinned], noted)
        # What no release has yet may be put back: it is not mixed with what has one.
        seen = _named([newest_versions(lake)], noted)
        with step("tables") as advance:
            for n, table in enumerate(newest):
                done.tables.append(_compacted(lake, table, seen.get(table, ()), settings, dry_run))
                advance(n + 1, len(newest))
        with step("files") as advance:
            for n, care in enumerate(done.tables):
                _free(lake, care, named[care.table], done)
                advance(n + 1, len(newest))
        if not dry_run:
            # Last, so that what dead runs left at tables is counted as freed; here their scratch goes.
            journal.recover(lake)
    return done


def _locks() -> tuple[str, ...]:
    return (*WRITERS, *(name for name, c in contracts().items() if c.layer in BESIDE_RUNS))


def _named(pinned: Iterable[Mapping[str, int]], noted: Named) -> dict[str, set[int]]:
    """Versions that somebody may still read, by table."""
    found = {table: set(versions) for table, versions in noted.items()}
    for tables in pinned:
        for table, version in tables.items():
            found.setdefault(table, set()).add(version)
    return found


# --- compaction ---


def _compacted(lake: Lake, table: str, seen: Iterable[int], settings: CareSettings, dry_run: bool) -> TableCare:
    care = TableCare(table)
    try:
        chosen = bundles(lake, table, seen, settings.most_files, int(settings.file_mb * 2**20))
    except DeltaError:
        # It cannot be opened: said where its files are looked at.
        return care
    if chosen:
        care.compacted_files, care.compacted_into = sum(len(b.files) for b in chosen), len(chosen)
        care.compacted_bytes = sum(b.bytes for b in chosen)
        if not dry_run:
            compact(lake, table, chosen, new_run_id("tidy"))
    if not dry_run:
        _checkpoint(lake, table)
    return care


def _checkpoint(lake: Lake, table: str) -> None:
    delta = lake.delta(table)
    assert delta is not None
    last = lake.store.read(f"{table.replace('.', '/')}/_delta_log/_last_checkpoint")
    at = -1 if last is None else int(json.loads(last)["version"])
    if delta.version() - at >= CHECKPOINT_AFTER:
        delta.create_checkpoint()


# --- removal ---


def _free(lake: Lake, care: TableCare, named: Iterable[int], done: Tidied) -> None:
    """Remove what no version that counts has; a table of which a named file is missing is left as it is, and said."""
    store, below = lake.store, f"{care.table.replace('.', '/')}/"
    lies = {n: size for n, size in store.sizes(below).items() if n.startswith(f"{below}{FOLDERS}")}
    # Asked after the files were listed: whoever staged one of them had noted it before.
    live = tuple(f"{folder}/" for folder in journal.staging(lake))
    try:
        wanted = {store.name(f.path) for version in (*named, None) for f in lake.files(care.table, version)}
        lost = [n for n in wanted - set(lies) if not store.is_there(n)]
        why = f"{len(lost)} files are not there ({min(lost)})" if lost else ""
    except DeltaError as e:
        wanted, why = set(lies), in_one_line(e)
    if why:
        remedy = "`huaxiang lake verify` says which releases are concerned, and what to do"
        done.notes.append(f"{care.table}: {why}; nothing of it was removed; {remedy}")
    gone = [] if why else [n for n in lies if n not in wanted and not n.startswith(live)]
    care.freed_files, care.freed_bytes = len(gone), sum(lies[n] for n in gone)
    care.files, care.bytes = len(lies) - len(gone), sum(lies.values()) - care.freed_bytes
    if not done.dry_run:
        for first in range(0, len(gone), BATCH):
            refuse_lost(lake)
            store.remove(gone[first : first + BATCH])
