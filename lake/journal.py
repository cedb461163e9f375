"""What a run has staged, so that what a killed or failed run left behind is removed.

Every run notes what it stages under ``ops/journal/RUN`` and holds its journal's name while it lives. Notes that nobody
holds belong to a dead run: its staged files that no table refers to are deleted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from lake.store import HeldByAnotherError, Lease, Store

JOURNALS = "ops/journal/"
SCRATCH = "ops/scratch"
LEASE = "journal."
"""What the name of a journal's lease begins with."""


class Published(Protocol):
    """A file that a table refers to."""

    @property
    def path(self) -> str: ...


class Journalled(Protocol):
    """What a journal needs of a lake."""

    @property
    def store(self) -> Store: ...

    def version(self, table: str, /) -> int | None: ...

    def files(self, table: str, version: int | None = None, /) -> Sequence[Published]: ...


@dataclass
class _Open:
    """A journal that this process holds."""

    lease: Lease
    notes: list[dict[str, Any]] = field(default_factory=list)


_held: dict[tuple[str, str], _Open] = {}


def new_run_id(verb: str, day: date | None = None) -> str:
    """An id that no other run has: what it does, of which day."""
    return f"{verb}-{day.isoformat() if day else 'now'}-{uuid.uuid4().hex[:10]}"


def scratch(lake: Journalled, run_id: str) -> Path:
    """The run's folder for files that no table will hold; deleted when the run finishes or is recovered."""
    folder = lake.store.path(f"{SCRATCH}/{run_id}")
    folder.mkdir(parents=True, exist_ok=True)
    note(lake, run_id, {"scratch": lake.store.name(folder)})
    return folder


def note(lake: Journalled, run_id: str, line: dict[str, Any]) -> None:
    """Add one note to the run's journal; the first one takes the journal for this process."""
    key = (lake.store.address, run_id)
    if key not in _held:
        # Held before the first note is there: notes that nobody holds are a dead run's.
        _held[key] = _Open(lake.store.hold(f"{LEASE}{run_id}"))
    journal = _held[key]
    if line in journal.notes:
        return
    journal.notes.append(line)
    lake.store.create(_note_name(run_id, len(journal.notes)), json.dumps(line).encode())


def _note_name(run_id: str, n: int) -> str:
    return f"{JOURNALS}{run_id}/{n:05d}.json"


@contextmanager
def kept(lake: Journalled, run_id: str) -> Iterator[None]:
    """The run's journal for a block: finished after it. If the block fails, what it staged and did not publish goes, too."""
    try:
        yield
    except BaseException:
        if (journal := _held.get((lake.store.address, run_id))) is not None:
            _remove_leftovers(lake, journal.notes)
        finish(lake, run_id)
        raise
    finish(lake, run_id)


def finish(lake: Journalled, run_id: str) -> None:
    """The run is done: its scratch folder, staging folders that nothing was put into, and its journal are removed."""
    journal = _held.pop((lake.store.address, run_id), None)
    if journal is None:
        return
    store = lake.store
    for line in journal.notes:
        if "scratch" in line:
            store.remove_below(store.path(line["scratch"]))
        elif store.below(folder := store.path(line["folder"]), ""):
            store.sweep(folder)
        else:
            store.forget_below(folder)
    # Removed while it is held: one that lies there unheld is a dead run's.
    store.delete(_note_name(run_id, n) for n in range(1, len(journal.notes) + 1))
    store.remove_empty(f"{JOURNALS}{run_id}")
    journal.lease.release()


def recover(lake: Journalled) -> list[str]:
    """Clean up after dead runs and return their ids; live runs are left alone."""
    recovered = []
    store = lake.store
    for run_id in _runs(store):
        try:
            lease = store.hold(f"{LEASE}{run_id}")
        except HeldByAnotherError:
            continue
        try:
            # It may have ended between our look and our hold: then its notes are gone.
            names = store.names(f"{JOURNALS}{run_id}/")
            found = [raw for name in names if (raw := store.read(name)) is not None]
            if not found:
                continue
            _remove_leftovers(lake, [json.loads(raw) for raw in found])
            store.delete(names)
            store.remove_empty(f"{JOURNALS}{run_id}")
            recovered.append(run_id)
        finally:
            lease.release()
    return recovered


def staging(lake: Journalled) -> list[str]:
    """Names of the staging folders of runs that live now, of whatever process."""
    found = []
    store = lake.store
    for run_id in _runs(store):
        try:
            store.hold(f"{LEASE}{run_id}").release()
        except HeldByAnotherError:
            notes = [json.loads(raw) for name in store.names(f"{JOURNALS}{run_id}/") if (raw := store.read(name))]
            found += [line["folder"] for line in notes if "folder" in line]
    return found


def _runs(store: Store) -> list[str]:
    return sorted({name.removeprefix(JOURNALS).split("/")[0] for name in store.names(JOURNALS)})


def _remove_leftovers(lake: Journalled, notes: Sequence[dict[str, Any]]) -> None:
    for line in notes:
        if "scratch" in line:
            lake.store.remove_below(lake.store.path(line["scratch"]))
        if "table" not in line:
            continue
        folder = lake.store.path(line["folder"])
        if not _is_published(lake, line["table"], line.get("version"), folder):
            lake.store.remove_below(folder)


def _is_published(lake: Journalled, table: str, since: int | None, folder: Path) -> bool:
    """Whether a version of the table, from the one that was there when the folder was made, has a file of it.

    All of them are asked, not the newest only: a journal may be found late, and releases need what they name.
    """
    newest = lake.version(table)
    if newest is None:
        return False
    start = f"{folder}/"
    return any(
        any(f.path.startswith(start) for f in lake.files(table, version))
        for version in range(newest, (newest if since is None else min(since, newest)) - 1, -1)
    )
