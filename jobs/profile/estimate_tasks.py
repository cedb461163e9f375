"""Map task of the lifecycle's curves: the purchase gaps of one bucket of users, counted into one small file."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.gaps import counted_gaps
from jobs.activity.paid_rows import paid_rows


def gaps_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Count the gaps of a bucket (features/gaps.py) and write them; gives the file.

    ``item`` holds what ``jobs/activity/paid_rows.py`` reads, and ``out``.
    """
    found = counted_gaps(paid_rows(item), date.fromisoformat(item["as_of"]))
    out = Path(item["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, out)
    return {"bucket": item["bucket"], "path": str(out)}
