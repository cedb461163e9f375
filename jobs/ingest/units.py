"""One unit of ingest: the new files (or the quarantined rows to replay) of one feed, from intent to publication.

The intent is written before anything is staged and names everything that the result depends on: files, mappings,
time of receipt. Every publication has a key made from it, so doing a unit again after a kill publishes what is missing
and nothing twice. Once the last data table is published only the manifest is left: its rows, and why files were refused,
are in the intent.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lake.lake import Lake
from lake.manifest import ManifestRow
from lake.publish import Confirm
from lake.refused import Attempt

Progress = Callable[[int, int], None]


@dataclass
class Batch:
    """The files of one mapping in a unit. For a replay ``files`` are the (deliveries of) quarantined rows."""

    batch_id: str
    source: str
    mapping: dict[str, Any]
    files: list[dict[str, Any]]


@dataclass
class Unit:
    """What is to be done for one feed. ``remove`` are [batch, file] pairs whose rows a replacing file takes over.

    ``salt_secret`` names the secret that salts hashes; the salt itself is never written down with a unit.
    """

    feed: str
    kind: Literal["ingest", "replay"]
    received_at: str
    zone: str
    currency: str
    guest_ids: list[str]
    batches: list[Batch]
    remove: list[list[str]] = field(default_factory=list)
    again: list[Batch] = field(default_factory=list)
    salt_secret: str = ""
    prepared: dict[str, Any] | None = None

    @property
    def unit_id(self) -> str:
        return hashlib.sha256(json.dumps([b.batch_id for b in self.batches]).encode()).hexdigest()[:16]

    def key(self, table: str) -> str:
        """Idempotency key of the unit's publication of a table."""
        return f"{self.kind}-{self.unit_id}-{table}"

    @property
    def tables(self) -> list[str]:
        """Data tables in the order in which they are published; the last one decides whether the unit counts."""
        order = ["bronze", "quarantine", "silver"] if self.kind == "ingest" else ["silver", "quarantine"]
        return [f"{layer}.{self.feed}" for layer in order]


@dataclass
class UnitResult:
    """What became of a unit: manifest rows of files taken, and an error by (source, file) of the others.

    ``found`` has by (source, file) its findings by kind (``reasons``, ``unread``, ``remarks``), as JSON holds them.
    """

    unit: Unit
    rows: list[ManifestRow] = field(default_factory=list)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    stopped: str | None = None
    found: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @property
    def attempts(self) -> list[Attempt]:
        """What is to be remembered of the unit's files: taken, refused, or all refused because the unit was stopped."""
        feed = self.unit.feed
        files = {(b.source, f["name"]): f for b in self.unit.batches for f in b.files}
        why: dict[tuple[str, str], str | None] = dict(self.errors)
        if self.stopped is not None and self.unit.kind == "ingest":
            why |= {key: f"nothing of {feed} was taken: {self.stopped}" for key in files if key not in why}
        why |= dict.fromkeys(self.still_taken & why.keys())
        return [Attempt(feed, r.source, r.file, r.checksum) for r in self.rows] + [
            Attempt(feed, *key, files[key]["checksum"], files[key]["bytes"], message) for key, message in why.items()
        ]

    @property
    def still_taken(self) -> set[tuple[str, str]]:
        """Files that were only to be read anew: failed, they are missing from no number."""
        replays = self.unit.kind == "replay"
        return {(b.source, f["name"]) for b in self.unit.batches for f in b.files if replays or f.get("taken_before")}


# --- intents ---


def _intent(feed: str) -> str:
    return f"ops/intents/{feed}.json"


def write_intent(lake: Lake, unit: Unit) -> None:
    """Write down, at once and whole, what is about to be done."""
    lake.store.replace(_intent(unit.feed), json.dumps(asdict(unit), ensure_ascii=False).encode())


def read_intents(lake: Lake, feeds: Iterable[str]) -> list[Unit]:
    """Units that a killed run left unfinished."""
    found = []
    for feed in feeds:
        text = lake.store.read(_intent(feed))
        if text is not None:
            raw = json.loads(text)
            for name in ("batches", "again"):
                raw[name] = [Batch(**b) for b in raw[name]]
            found.append(Unit(**raw))
    return found


def forget_intent(lake: Lake, unit: Unit) -> None:
    lake.store.delete([_intent(unit.feed)])


@dataclass
class Staged:
    """A unit between reading and publication."""

    unit: Unit
    folders: dict[str, Path]
    counts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    slices: list[str] = field(default_factory=list)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    found: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)
    months: list[int] = field(default_factory=list)
    versions: dict[str, int | None] = field(default_factory=dict)
    replace: dict[str, list[dict[str, object]] | None] = field(default_factory=dict)
    stopped: str | None = None
    confirm: Confirm | None = None
