"""What is parsed together: the items of ingest's first map task, as even as the files allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.ingest.units import Batch, Staged
from lake.lake import Lake
from project.folder import salt_of

GROUP_BYTES = 24 << 20
"""Files are parsed together up to this much text, as estimated; a larger one is alone."""
GZIP_RATIO = 8
MOST_THREADS = 4
"""Cleaning a file's blocks: reading them, which one thread does, is a quarter of all work."""


def weight(file: dict[str, Any]) -> int:
    """Bytes of text, as estimated."""
    name = str(file["name"])
    return int(file["bytes"]) * (GZIP_RATIO if name.endswith((".gz", ".parquet")) else 1)


def _common(lake: Lake, s: Staged, batch: Batch, folders: dict[str, Path]) -> dict[str, Any]:
    return {
        "mapping": batch.mapping,
        "zone": s.unit.zone,
        "currency": s.unit.currency,
        "guest_ids": s.unit.guest_ids,
        "received_at": s.unit.received_at,
        "batch_id": batch.batch_id,
        "salt": salt_of(lake, s.unit.salt_secret) if _hashes(batch) else "",
        "folders": {table.split(".")[0]: str(folder) for table, folder in folders.items()},
    }


def _hashes(batch: Batch) -> bool:
    return any(rule.get("hash") for rule in batch.mapping["fields"].values())


def parse_items(
    lake: Lake, s: Staged, batches: Sequence[Batch], word: str, group_bytes: int, bytes_a_core: int
) -> list[dict[str, Any]]:
    """Files of a batch in order, small ones together. Files parsed ``again`` give candidates of silver only.

    A file that is more than a core's share of all has a thread for each core that it would hold idle.
    """
    items = []
    for batch in batches:
        groups: list[list[dict[str, Any]]] = []
        filled = 0
        for file in batch.files:
            if not groups or filled + weight(file) > group_bytes:
                groups.append([])
                filled = 0
            groups[-1].append(file)
            filled += weight(file)
        for n, group in enumerate(groups):
            part = f"{word}-{batch.batch_id}-{n:05d}"
            folders = s.folders
            threads = max(1, min(MOST_THREADS, round(sum(map(weight, group)) / bytes_a_core)))
            item = _common(lake, s, batch, folders) | {"part": part, "again": word == "again", "threads": threads}
            if word == "again":
                item["received_at"] = group[0]["received_at"]
                item["folders"] = {"silver": str(s.folders[f"silver.{s.unit.feed}"])}
            item["files"] = [{"path": str(lake.store.path(f["landing"])), "name": f["name"]} for f in group]
            lake.store.note_there(f["path"] for f in item["files"])
            items.append(item)
    return items


def replay_items(lake: Lake, s: Staged) -> list[dict[str, Any]]:
    items = []
    for n, batch in enumerate(s.unit.batches):
        slices = []
        for origin in dict.fromkeys(f["origin"] for f in batch.files):
            found = lake.files(f"quarantine.{s.unit.feed}", where={"_batch_id": origin})
            landed = {f["name"]: f["landing"] for f in batch.files if f["origin"] == origin}
            slices.append({"batch_id": origin, "paths": [f.path for f in found], "landed": landed})
        items.append(_common(lake, s, batch, s.folders) | {"part": f"replay-{n:05d}", "slices": slices})
    return items
