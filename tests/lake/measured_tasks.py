"""Tasks that tests of spans and memory have workers run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from lake.budget import in_memory
from lake.spans import span
from schemas.errors import InputError


def read_and_write(item: dict[str, Any]) -> dict[str, Any]:
    with span("read", "a file"):
        time.sleep(item["seconds"])
    with span("write", "a file"):
        time.sleep(item["seconds"])
    return {"n": item["n"], "pid": os.getpid()}


def fail(item: dict[str, Any]) -> dict[str, Any]:
    with span("read", "a file"):
        raise InputError(f"item {item['n']} is no good")


def hold(item: dict[str, Any]) -> dict[str, Any]:
    """Hold so many MiB until it is seen, or a while."""
    block = np.ones(item["mib"] << 20, dtype=np.uint8)
    ends = time.monotonic() + 20
    while time.monotonic() < ends and not Path(item["seen"]).exists():
        time.sleep(0.05)
    return {"sum": int(block[:: 1 << 20].sum())}


SORTED = "select hash(i) as h, repeat('x', 40) || i as text from range({rows}) t(i) order by h"


def sort(item: dict[str, Any]) -> dict[str, Any]:
    """Sort more than fits a small limit; what the rows are in their order, the limit, and whether anything was spilled."""
    with in_memory(threads=1) as con:
        limit, folder = con.execute(
            "select current_setting('memory_limit'), current_setting('temp_directory')"
        ).fetchall()[0]
        con.execute(f"create table sorted as {SORTED.format(rows=item['rows'])}")
        spilled = con.execute("select coalesce(sum(size), 0) from duckdb_temporary_files()").fetchall()[0][0]
        rows = con.execute(
            "select count(*), sum(n), bit_xor(hash(text) + n) from (select text, row_number() over () as n from sorted)"
        ).fetchall()[0]
    return {"rows": [str(r) for r in rows], "limit": limit, "folder": folder, "spilled": int(spilled)}
