"""Map task of the lifecycle's curves: the purchase gaps of one bucket of users, counted into one small file."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from features.facts import LEARNED
from features.gaps import COLUMNS, counted_gaps
from features.kernel import merge_files
from features.kernel.rows import USERS_PER_BUCKET
from schemas.arrow import ARROW
from schemas.behaviours import BEHAVIOURS


def gaps_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Count the gaps of a bucket (features/gaps.py) and write them; gives the file.

    ``item`` holds ``bucket``, ``files`` of activity, ``users`` (files of identity.users, for who was merged away),
    ``as_of``, ``known_at_day`` (or null) and ``out``.
    """
    as_of = date.fromisoformat(item["as_of"])
    known_at_day = date.fromisoformat(item["known_at_day"]) if item["known_at_day"] else None
    columns = [*COLUMNS, *(LEARNED if known_at_day else ())]
    paid = (pads.field("behaviour_code") == BEHAVIOURS["pay"]) & (pads.field("day") <= pa.scalar(as_of, ARROW["date"]))
    wanted = ["uid", "occurred_at", "day", *columns]
    files = [pads.dataset(path).to_table(columns=wanted, filter=paid, use_threads=False) for path in item["files"]]
    rows = merge_files(files, columns, base=item["bucket"] * USERS_PER_BUCKET)
    found = counted_gaps(rows, as_of, known_at_day=known_at_day, left_out=_retired(item["users"]))
    out = Path(item["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, out)
    return {"bucket": item["bucket"], "path": str(out)}


def _retired(files: list[str]) -> np.ndarray:
    """uids whose rows count for the elder person that they were merged into."""
    retired = pads.field("retired_day").is_valid()
    parts = [pads.dataset(path).to_table(columns=["uid"], filter=retired, use_threads=False) for path in files]
    return np.concatenate([np.empty(0, np.int64), *(p["uid"].to_numpy() for p in parts)])
