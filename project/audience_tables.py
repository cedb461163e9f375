"""What the tables of audiences hold: every build with its size, every version of a definition, and what left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.parquet as pq

from lake.lake import Lake

SIZES = "audiences.sizes"
DEFINITIONS = "audiences.definitions"
DELIVERIES = "exports.deliveries"


def builds(lake: Lake, audience: str | None = None) -> list[dict[str, Any]]:
    """Rows of ``audiences.sizes`` in order of audience and day."""
    where = None if audience is None else {"audience": audience}
    rows: list[dict[str, Any]] = []
    files = lake.files(SIZES, where=where)
    for f, path in zip(files, lake.local(files), strict=True):
        rows += [{"audience": f.partition["audience"], **row} for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(rows, key=lambda r: (r["audience"], r["as_of"]))


def deliveries(lake: Lake, audience: str | None = None) -> list[dict[str, Any]]:
    """Rows of ``exports.deliveries``, newest first."""
    rows = [row for path in lake.local(lake.files(DELIVERIES)) for row in pq.ParquetFile(path).read().to_pylist()]
    found = [r for r in rows if audience is None or r["audience"] == audience]
    return sorted(found, key=lambda r: (r["created_at"], r["delivery_id"]), reverse=True)


@dataclass(frozen=True)
class AudienceVersion:
    """One version: ``definitions`` are the audience's own and those it refers to, by name."""

    audience: str
    version: int
    definition_hash: str
    definitions: Mapping[str, Any]
    requested_by: str
    reason: str | None
    created_at: datetime


def definitions_of(lake: Lake, audience: str | None = None) -> list[AudienceVersion]:
    """Versions in order of audience and number, the newest last."""
    rows = (row for path in lake.local(lake.files(DEFINITIONS)) for row in pq.ParquetFile(path).read().to_pylist())
    found = [
        AudienceVersion(
            r["audience"],
            r["version"],
            r["definition_hash"],
            json.loads(r["definition"]),
            r["requested_by"],
            r["reason_given"],
            r["created_at"],
        )
        for r in rows
        if audience in (None, r["audience"])
    ]
    return sorted(found, key=lambda v: (v.audience, v.version))
