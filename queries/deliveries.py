"""What left: every delivery, and one with its funnel, files and columns, as its manifest says. Reads no file of people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from audiences.delivery import MANIFEST, listed_files
from project.audience_tables import deliveries
from project.folder import Project
from schemas.errors import NotThereError


@dataclass(frozen=True)
class Delivery:
    """One row of ``exports.deliveries``. ``rows_before`` are those of the delivery of the same kind before it, if any."""

    delivery_id: str
    audience: str
    platform: str | None
    campaign: str | None
    stage: str | None
    arm: str | None
    as_of: date
    release: int
    rows: int
    checksum: str
    requested_by: str
    created_at: datetime
    path: str
    rows_before: int | None

    @property
    def moved(self) -> float | None:
        """By which share it has more (or fewer) rows than the one before."""
        return None if not self.rows_before else self.rows / self.rows_before - 1


@dataclass(frozen=True)
class DeliveredFile:
    """A file of a delivery; ``path`` is None where it is not in its place any more."""

    name: str
    rows: int | None
    bytes: int | None
    checksum: str | None
    path: Path | None


@dataclass(frozen=True)
class DeliveryPage:
    """A delivery with what its manifest says; ``manifest`` is empty where it cannot be read, and ``problem`` says why."""

    delivery: Delivery
    manifest: Mapping[str, Any]
    files: tuple[DeliveredFile, ...]
    problem: str | None = None


def deliveries_made(project: Project, audience: str | None = None) -> list[Delivery]:
    """Deliveries, the newest first."""
    before: dict[tuple[Any, ...], int] = {}
    found = []
    for r in reversed(deliveries(project.lake)):
        kind = tuple(r.get(k) for k in ("audience", "platform", "campaign", "stage", "arm"))
        if audience in (None, r["audience"]):
            wanted = {k: r.get(k) for k in Delivery.__dataclass_fields__ if k != "rows_before"}
            found.append(Delivery(**wanted, rows_before=before.get(kind)))
        before[kind] = r["rows"]
    return found[::-1]


def delivery_page(project: Project, delivery_id: str) -> DeliveryPage:
    """One delivery; NotThereError for an id that no delivery has."""
    found = next((d for d in deliveries_made(project) if d.delivery_id == delivery_id), None)
    if found is None:
        raise NotThereError(f"there is no delivery {delivery_id[:60]!r}")
    folder = Path(found.path).parent
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = listed_files(manifest)
    except (OSError, ValueError, KeyError) as e:
        return DeliveryPage(found, {}, (), f"its manifest cannot be read: {e}")
    if manifest.get("delivery_id") != delivery_id:
        return DeliveryPage(found, {}, (), "another delivery lies in its place")
    return DeliveryPage(found, manifest, tuple(_file(folder, entry) for entry in listed))


def _file(folder: Path, entry: Mapping[str, Any]) -> DeliveredFile:
    name = str(entry["file"])
    path = folder / name
    # A manifest lies where others may write: a name in it leads nowhere but into its own folder.
    is_inside = path.name == name and path.is_file() and path.resolve().parent == folder.resolve()
    return DeliveredFile(
        name, entry.get("rows"), entry.get("bytes"), entry.get("checksum"), path if is_inside else None
    )


def delivered_path(project: Project, delivery_id: str, name: str) -> Path:
    """Where a file of a delivery lies; NotThereError where it is not in its place, or is none of the delivery's."""
    path = next((f.path for f in delivery_page(project, delivery_id).files if f.name == name), None)
    if path is None:
        raise NotThereError(f"delivery {delivery_id[:60]!r} has no file {name[:100]!r} in its place")
    return path
