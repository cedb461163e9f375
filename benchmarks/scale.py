"""What grows with users: ``python -m benchmarks.scale forest|orders|members N`` and ``python -m benchmarks.scale shop FOLDER``.

``forest``: N people in one tree of random parents. ``orders``: N orders brought. ``members``: N members of fission. These are
the tasks that hold something of all users; two sizes give the bytes that one more takes. Inputs are made in this process, what
is measured runs in another. ``shop``: what the runs of a project took by step, and what its lake holds by layer.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from benchmarks.measured import measured
from features.fission.settings import FissionSettings
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.array_files import save_arrays
from jobs.fission.inputs import FissionInputs, write_sold
from jobs.fission.tasks import forest_of_touches
from lake.folder_store import FolderStore
from lake.lake import Lake
from lake.sql import connect
from project.folder import Project

TABLES = ("silver.members", "identity.identifiers", "identity.users")


def make_people(folder: Path, n: int) -> None:
    draw = np.random.default_rng(1)
    for bucket in range(n // USERS_PER_BUCKET):
        first = bucket * USERS_PER_BUCKET
        child = np.arange(max(first, 1), first + USERS_PER_BUCKET)
        parent = (child * draw.random(len(child))).astype(np.int64)
        buyer = np.arange(0, USERS_PER_BUCKET, 3)
        save_arrays(
            folder / f"bucket-{bucket}",
            child=child,
            parent=parent,
            touched_at=child * 1000,
            joined_at=child * 1000 + 5,
            touch_kind=np.zeros(len(child), np.int8),
            in_group=np.zeros(len(child), np.bool_),
            buyer=buyer,
            buyer_net=np.ones(len(buyer), np.int64),
            level=np.full(USERS_PER_BUCKET, -1, np.int32),
            pair_opener=child,
            pair_sharer=parent,
            sold_key=draw.integers(1, 10**12, USERS_PER_BUCKET),
            sold_place=draw.integers(0, USERS_PER_BUCKET, USERS_PER_BUCKET).astype(np.int32),
        )


def make_members(folder: Path, n: int) -> None:
    ids = pa.array([f"m{i:09d}" for i in range(n)])
    stamps = pa.array(np.arange(n) * 1_000 + 1_767_225_600_000_000, pa.timestamp("us", "UTC"))
    uid, no_day = np.arange(n), pa.nulls(n, pa.date32())
    members = {
        "member_id": ids,
        "registered_at": stamps,
        "distributor_level": np.zeros(n, np.int32),
        "inviter_member_id": ids.take(pa.array(uid // 2)),
        "source_time": stamps,
        "_ingested_at": stamps,
        "_file": pa.repeat("members.csv", n),
        "_row": uid,
    }
    owners = {"id_kind": pa.repeat("member", n), "id_value": ids, "uid": uid, "until_day": no_day}
    users = {"uid": uid, "merged_into_uid": pa.nulls(n, pa.int64()), "retired_day": no_day}
    for name, columns in zip(TABLES, (members, owners, users), strict=True):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def run(what: str, folder: Path, n: int) -> None:
    folders = [str(folder / f"bucket-{b}") for b in range(n // USERS_PER_BUCKET)]
    if what == "forest":
        settings = FissionSettings().model_dump(mode="json")
        files = {f"{name}_out": str(folder / f"{name}.parquet") for name in ("edges", "trees")}
        out = str(folder / "forest")
        forest_of_touches({"folders": folders, "greatest_uid": n - 1, "settings": settings, "out": out, **files})
    elif what == "orders":
        write_sold(folders, folder / "sold")
    else:
        tables = {name: pads.dataset(folder / f"{name}.parquet") for name in TABLES}
        lake = cast(Lake, SimpleNamespace(zone="UTC", store=FolderStore(folder), dataset=tables.__getitem__))
        FissionInputs(lake, dt.date(2026, 12, 1), None, folder / "read").people()


STEPS = """
with steps as (select *, row_number() over (partition by step order by created_at) as nth, count(*) over (partition by step) as last from ops.runs)
select step, round(sum(seconds) filter (nth = 1), 1) as first_day, round(sum(seconds) filter (nth = last), 1) as last_day,
       max(peak_memory_mb)::bigint as peak_mib
from steps group by step order by min(created_at), first_day desc
"""


def show_shop(folder: Path) -> None:
    """Tables in Markdown: seconds of every step, and files and bytes of every layer."""
    lake = Project.load(folder).lake
    with connect(lake, None) as con:
        (users,) = con.execute(
            "select count(*) from profile.profile where as_of = (select max(as_of) from profile.profile)"
        ).fetchall()[0]
        (rows,) = con.execute("select count(*) from activity.activity").fetchall()[0]
        steps = con.execute(STEPS).fetchall()
    print(
        f"{users:,} users, {rows:,} rows of activity\n\n| step | first day s | last day s | peak MiB |\n|---|---|---|---|"
    )
    for step, first, last, peak in steps:
        print(f"| {step} | {first} | {last} | {peak:,} |")
    layers: dict[str, list[int]] = {}
    for table in lake.versions():
        files = lake.files(table)
        total = layers.setdefault(table.split(".")[0], [0, 0, 0])
        for i, n in enumerate((len(files), sum(f.bytes for f in files), sum(f.rows for f in files))):
            total[i] += n
    print("\n| layer | files | MB | rows |\n|---|---|---|---|")
    for layer, (count, size, held) in layers.items():
        print(f"| {layer} | {count:,} | {size / 1e6:,.1f} | {held:,} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("forest", "orders", "members", "shop"))
    parser.add_argument("n", help="a multiple of 100,000; of a shop its folder")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "shop":
        show_shop(Path(options.n))
        return 0
    options.n = int(options.n)
    if options.run is not None:
        run(options.what, options.run, options.n)
        return 0
    with tempfile.TemporaryDirectory(prefix="huaxiang-scale-") as made:
        (make_members if options.what == "members" else make_people)(Path(made), options.n)
        command = [sys.executable, "-m", "benchmarks.scale", options.what, str(options.n), "--run", made]
        found = measured(command, {})
    print(f"{options.what} {options.n:,}: {found.cpu:.1f} CPU s, peak {found.peak_mb:,.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
