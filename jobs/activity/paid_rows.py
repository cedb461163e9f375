"""Reads the paid rows of one bucket that count on a day, for map tasks that ask for no declared facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow.dataset as pads

from features.facts import needs
from features.kernel.rows import USERS_PER_BUCKET
from features.kernel.selection import Selection, paid
from jobs.activity.bucket_files import BucketFiles, Wanted
from schemas.behaviours import BEHAVIOURS


def paid_rows(item: Mapping[str, Any], columns: Sequence[str] = (), days: int | None = None) -> Selection:
    """Paid rows that count on ``as_of``, those of its last ``days`` if given, with further ``columns``.

    ``item`` holds ``bucket``, ``files`` of its activity, ``users`` (files of identity.users), ``as_of`` and
    ``known_at_day`` (or null). Rows of retired persons are left out: they stand under the elder too.
    """
    as_of = date.fromisoformat(item["as_of"])
    known_at_day = date.fromisoformat(item["known_at_day"]) if item["known_at_day"] else None
    wanted = Wanted(
        as_of,
        first=None if days is None else as_of - timedelta(days=days - 1),
        known_at_day=known_at_day,
        behaviours=(BEHAVIOURS["pay"],),
        without=_retired(item["users"]),
    )
    names = [*needs((), known_at=known_at_day is not None).columns, *columns]
    rows = BucketFiles(item["files"], wanted).rows(names, base=item["bucket"] * USERS_PER_BUCKET)
    return paid(rows, as_of, known_at_day)


def _retired(files: Sequence[str]) -> list[int]:
    gone = pads.field("retired_day").is_valid()
    parts = (pads.dataset(path).to_table(columns=["uid"], filter=gone, use_threads=False) for path in files)
    return [uid for part in parts for uid in part["uid"].to_pylist()]
