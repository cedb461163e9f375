"""A large audience is delivered whole, and what it takes of memory is not the audience."""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.audiences.export import export
from lake import journal
from lake.budget import LEAST_BYTES, Share, take
from lake.lake import partition_path
from lake.publish import publish
from lake.releases import write_release
from schemas.arrow import file_schema
from schemas.contracts import contract
from tests.audiences.lake_shop import EARLY, D, Shop

BUCKET = 100_000
ROWS = 40_000
EVERYBODY = """\
name: {zh: 全部, en: Everybody}
description: {zh: 全部, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, at_least: 0}
"""
PLATFORM = f"""\
name: {{zh: 平台, en: Platform}}
description: {{zh: 平台, en: Platform}}
form: txt
columns: [{{id: phone, shape: national, hash: sha256}}]
limits: {{rows: {ROWS}}}
"""


def put(shop: Shop, table: str, slices: Iterator[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Publish columns, a file a slice; absent ones are null."""
    lake, c = shop.lake, contract(table)
    lake.ensure(table, shop.project.catalogue.columns if c.open else None)
    schema, folder = file_schema(lake.schema(table), c.partitions), lake.stage(table, table)
    for partition, columns in slices:
        place = folder / partition_path(partition)
        place.mkdir(parents=True, exist_ok=True)
        n = len(columns["uid"])
        arrays = [pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), place / "rows.parquet")
    publish(lake, table, folder, replace="all", read_version=None, run_id=table, key=table)
    journal.finish(lake, table)


def phones(uids: Sequence[int]) -> list[str]:
    return [f"13{uid:09d}" for uid in uids]


def large_shop(folder: Path, users: int) -> Shop:
    shop = Shop(folder)
    shop.define("everybody", EVERYBODY)
    (folder / "platforms").mkdir()
    (folder / "platforms" / "lines.yaml").write_text(PLATFORM, encoding="utf-8")

    def buckets(**more: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for first in range(0, users, BUCKET):
            u = np.arange(max(first, 1), min(first + BUCKET, users + 1))
            yield (
                {"bucket": first // BUCKET, **more},
                {
                    "uid": u,
                    "user_id": [f"m{x}" for x in u],
                    "is_member": [True] * len(u),
                    "person_kind": ["member"] * len(u),
                    "paid_amount_90d": u,
                },
            )

    every = np.arange(1, users)
    ids = [f"M{x}" for x in every]
    put(shop, "identity.users", buckets())
    put(shop, "profile.profile", buckets(as_of=D))
    put(shop, "identity.identifiers", iter([({}, {"uid": every, "id_kind": ["member"] * len(ids), "id_value": ids})]))
    records = {
        "uid": every,
        "member_id": ids,
        "phone": phones(every.tolist()),
        "marketing_consent": [True] * len(ids),
        "source_time": [EARLY] * len(ids),
        "_ingested_at": [EARLY] * len(ids),
        "row_hash": ids,
    }
    put(shop, "silver.members", iter([({"event_month": 202601}, records)]))
    tables = {n: v for n, v in shop.lake.versions().items() if n.split(".")[0] in ("silver", "identity", "profile")}
    write_release(shop.lake, D, "run", tables)
    return shop


def _delivered(folder: str, spills: str, answer: Any) -> None:
    take(Share(LEAST_BYTES, spills))
    done = export(Shop.at(Path(folder)).project, "everybody", requested_by="li", to="lines")
    answer.put(
        (done.folder, [p["file"] for p in done.parts], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    )


def delivered(shop: Shop, spills: Path) -> tuple[list[list[str]], int]:
    """Lines of each part, and the peak memory of the process that wrote them."""
    spawn = multiprocessing.get_context("spawn")
    answer = spawn.Queue()
    child = spawn.Process(target=_delivered, args=(str(shop.folder), str(spills), answer))
    child.start()
    folder, files, peak = answer.get(timeout=600)
    child.join()
    return [(Path(folder) / f).read_text(encoding="utf-8").split() for f in files], peak


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_a_large_audience_leaves_whole_in_its_order_and_in_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "spills").mkdir()
    peaks = {}
    for users in (100_000, 500_000):
        parts, peaks[users] = delivered(large_shop(tmp_path / str(users), users), tmp_path / "spills")
        assert [len(p) for p in parts[:-1]] == [ROWS] * (len(parts) - 1) and 0 < len(parts[-1]) <= ROWS
        expected = [hashlib.sha256(p.encode()).hexdigest() for p in phones(range(1, users))]
        assert [line for part in parts for line in part] == expected
    # Beside DuckDB's share a person costs a few numbers; rows with their texts held whole would cost some kilobytes.
    assert peaks[500_000] - peaks[100_000] < LEAST_BYTES + 400_000 * 200
