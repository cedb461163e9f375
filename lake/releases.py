"""Releases: which versions of all tables belong together.

A release is one small file under ``LAKE/ops/releases``, written last and only if absent, that names the version of
every table. Readers go through it, so they never see half of a run. ``latest`` is the release of the greatest
``as_of``; a rollback is a further file that makes an older one the latest until a newer day is published.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from lake.lake import Lake
from lake.locks import refuse_lost
from schemas.contracts import LAYERS, contracts
from schemas.errors import NotThereError

RELEASED_LAYERS = tuple(
    layer for layer in LAYERS if layer not in ("audiences", "campaigns", "exports", "landing", "ops")
)
"""Layers that a release pins; the others are not a run's, or its own books, and are shown as they are now."""
NOTHING_YET = "nothing has been released yet; `huaxiang run --as-of DAY` makes the first release"


@dataclass(frozen=True)
class Release:
    """One publication of one ``as_of``: the table versions that belong together, and the configuration they used.

    ``refused`` counts by feed the files that had been refused and not yet dismissed: their rows are in no number.
    ``expired_on`` is the day on which ``huaxiang lake tidy`` let it go, ``expired_by`` the retention: its versions cannot
    be read any more, and it names none.
    """

    number: int
    as_of: date
    run_id: str
    created_at: datetime
    tables: dict[str, int]
    fingerprint: str = ""
    rollback_to: int | None = None
    by: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    expired_on: date | None = None
    expired_by: str = ""


RELEASES = "ops/releases/"


def _read(text: bytes) -> Release:
    raw: dict[str, Any] = json.loads(text)
    raw["as_of"] = date.fromisoformat(raw["as_of"])
    raw["created_at"] = datetime.fromisoformat(raw["created_at"])
    if "expired_on" in raw:
        raw["expired_on"] = date.fromisoformat(raw["expired_on"])
    return Release(**raw)


def entries(lake: Lake) -> list[Release]:
    """Every release and rollback in the order in which they were written, those that expired among them."""
    listed = [name for name in lake.store.names(RELEASES) if name.removeprefix(RELEASES)[0].isdigit()]
    last = int(listed[-1].removeprefix(RELEASES).removesuffix(".json")) if listed else 0
    if lake.store.is_remote:
        # A list may lag behind what was put: every number is asked for by name, and those after the last one.
        listed = [_name(n) for n in range(1, last + 1)]
    texts = [text for name in listed if (text := lake.store.read(name)) is not None]
    if lake.store.is_remote:
        while (text := lake.store.read(_name(last := last + 1))) is not None:
            texts.append(text)
    return [_read(text) for text in texts]


def _name(number: int) -> str:
    return f"{RELEASES}{number:010d}.json"


def releases(lake: Lake) -> list[Release]:
    """Every release that can be read: rollbacks and those that expired left out."""
    return [r for r in entries(lake) if r.rollback_to is None and r.expired_on is None]


def latest(lake: Lake) -> Release | None:
    """What readers see: never moved back by re-running an older day, moved back by a rollback only."""
    current: Release | None = None
    by_number: dict[int, Release] = {}
    for entry in entries(lake):
        if entry.rollback_to is not None:
            current = by_number[entry.rollback_to]
            continue
        by_number[entry.number] = entry
        if current is None or entry.as_of >= current.as_of:
            current = entry
    return current


def newest(lake: Lake) -> Release:
    """What was released last, of whatever day; after a rollback what that went back to. NotThereError before the first.

    An older day that was run again is in it, and not yet in the latest.
    """
    written = entries(lake)
    if not written:
        raise NotThereError(NOTHING_YET)
    return written[-1]


def release(lake: Lake, which: int | str | None = None) -> Release:
    """Release by number, by ``as_of`` (the newest of that day) or the latest; NotThereError lists what there is."""
    found = releases(lake)
    if which is None or which == "latest":
        current = latest(lake)
        if current is None:
            raise NotThereError(NOTHING_YET)
        return current
    for r in reversed(found):
        if str(which) in (str(r.number), r.as_of.isoformat()):
            return r
    if not found:
        raise NotThereError(NOTHING_YET)
    for r in reversed(entries(lake)):
        if r.expired_on is not None and str(which) in (str(r.number), r.as_of.isoformat()):
            raise NotThereError(
                f"release {r.number} ({r.as_of}) expired on {r.expired_on} ({r.expired_by}) and cannot be read any more; "
                f"`huaxiang release list` shows which are kept, `huaxiang run --as-of {r.as_of}` makes that day anew"
            )
    there = ", ".join(f"{r.number} ({r.as_of})" for r in found[-10:])
    raise NotThereError(f"no release {which!r}; the newest are {there}")


def newest_versions(lake: Lake) -> dict[str, int]:
    """The newest version of every table that any release names."""
    found: dict[str, int] = {}
    for r in releases(lake):
        found |= {name: max(version, found.get(name, 0)) for name, version in r.tables.items()}
    return found


def lake_at(lake: Lake, at: Release) -> Lake:
    """The lake as a release has it: every table that releases pin at the version that this one names, or not there."""
    pinned = (name for name, c in contracts().items() if c.layer in RELEASED_LAYERS)
    return lake.at({name: at.tables.get(name) for name in pinned})


def of_day(lake: Lake, as_of: date) -> Release | None:
    """The newest release of that day."""
    return next((r for r in reversed(releases(lake)) if r.as_of == as_of), None)


def write_release(
    lake: Lake,
    as_of: date,
    run_id: str,
    tables: dict[str, int],
    *,
    fingerprint: str = "",
    rollback_to: int | None = None,
    by: str = "",
    counts: dict[str, int] | None = None,
    refused: dict[str, int] | None = None,
) -> Release:
    """Write the next release. The same run released before is returned as it is (a killed run that runs again)."""
    for entry in entries(lake):
        if entry.run_id == run_id:
            return entry
    refuse_lost(lake)
    while True:
        number = max((r.number for r in entries(lake)), default=0) + 1
        made = Release(
            number=number,
            as_of=as_of,
            run_id=run_id,
            created_at=datetime.now(UTC).replace(microsecond=0),
            tables=dict(sorted(tables.items())),
            fingerprint=fingerprint,
            rollback_to=rollback_to,
            by=by,
            counts=counts or {},
            refused=refused or {},
        )
        if lake.store.create(_name(number), _text(made)):
            return made


def expire(lake: Lake, r: Release, on: date, by: str) -> Release:
    """Write that a release expired, in its own place; from then on nothing needs the versions that it named."""
    refuse_lost(lake)
    gone = replace(r, tables={}, expired_on=on, expired_by=by)
    lake.store.replace(_name(r.number), _text(gone))
    return gone


def _text(r: Release) -> bytes:
    raw: dict[str, Any] = asdict(r) | {"as_of": r.as_of.isoformat(), "created_at": r.created_at.isoformat()}
    expired = {} if r.expired_on is None else {"expired_on": r.expired_on.isoformat(), "expired_by": r.expired_by}
    lasting = {k: v for k, v in raw.items() if not k.startswith("expired_")}
    return json.dumps(lasting | expired, ensure_ascii=False, indent=1).encode()


def default_target(lake: Lake, current: Release) -> Release | None:
    """What a rollback goes back to that is not told where: the newest release of the day before what readers see."""
    older = [r for r in releases(lake) if r.as_of < current.as_of]
    return max(older, key=lambda r: (r.as_of, r.number), default=None)


def rollback(lake: Lake, to: int | str | None, run_id: str, by: str) -> Release:
    """Make ``to`` (default: the release of the day before the latest) what readers see; nothing is deleted."""
    current = release(lake)
    target = default_target(lake, current) if to is None else release(lake, to)
    if target is None:
        raise NotThereError(f"release {current.number} ({current.as_of}) is the oldest; there is none to go back to")
    return write_release(lake, target.as_of, run_id, target.tables, rollback_to=target.number, by=by)
