"""Reads the paid rows of one bucket that count on a day, for map tasks that ask for no declared facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from features.facts import needs
from features.kernel import merge_files
from features.kernel.rows import USERS_PER_BUCKET
from features.kernel.selection import Selection, paid
from schemas.arrow import ARROW
from schemas.behaviours import BEHAVIOURS


def paid_rows(item: Mapping[str, Any], columns: Sequence[str] = (), days: int | None = None) -> Selection:
    """Paid rows that count on ``as_of``, those of its last ``days`` if given, with further ``columns``.

    ``item`` holds ``bucket``, ``files`` of its activity, ``users`` (files of identity.users), ``as_of`` and
    ``known_at_day`` (or null). Rows of retired persons are left out: they stand under the elder too.
    """
    as_of = date.fromisoformat(item["as_of"])
    known_at_day = date.fromisoformat(item["known_at_day"]) if item["known_at_day"] else None
    day = pads.field("day")
    wanted = (pads.field("behaviour_code") == BEHAVIOURS["pay"]) & (day <= pa.scalar(as_of, ARROW["date"]))
    if days is not None:
        wanted &= day > pa.scalar(as_of - timedelta(days=days), ARROW["date"])
    if retired := _retired(item["users"]):
        wanted &= ~pads.field("uid").isin(retired)
    names = [*dict.fromkeys((*needs((), known_at=known_at_day is not None).columns, *columns))]
    files = [pads.dataset(path).to_table(columns=names, filter=wanted, use_threads=False) for path in item["files"]]
    return paid(merge_files(files, names, base=item["bucket"] * USERS_PER_BUCKET), as_of, known_at_day)


def _retired(files: Sequence[str]) -> list[int]:
    gone = pads.field("retired_day").is_valid()
    parts = (pads.dataset(path).to_table(columns=["uid"], filter=gone, use_threads=False) for path in files)
    return [uid for part in parts for uid in part["uid"].to_pylist()]
