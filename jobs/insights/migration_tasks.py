"""Map task of the migration alert: one bucket of users on two days, who moved where, and the list of those it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.changes import TwoSnapshots


def moves_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Count the moves of a bucket between two snapshots; write who moved from one of ``origins`` to ``target``.

    ``item`` holds ``bucket``, ``current`` and ``previous`` (profile files of the two days), ``scheme``, ``alert``,
    ``origins``, ``target`` and ``out``. Gives the moves (from, to, users) and the file, or none for nobody.
    """
    scheme = item["scheme"]
    current = _snapshot(item["current"], scheme)
    found = TwoSnapshots(current, _snapshot(item["previous"], scheme) if item["previous"] else None)
    moves: dict[tuple[str, str], int] = {}
    for row in found.flows(scheme):
        move = (row["from_segment"], row["to_segment"])
        moves[move] = moves.get(move, 0) + row["users"]
    now, was = found.values(scheme, None, pa.string())
    inside = pc.and_(pc.equal(now, item["target"]), pc.is_in(was, pa.array(item["origins"], pa.string())))
    inside = pc.fill_null(inside, False)
    uid = found.uid.filter(inside)
    if len(uid):
        table = pa.table(
            {
                "alert": pa.array([item["alert"]] * len(uid), pa.string()),
                "uid": uid,
                "from_segment": was.filter(inside),
                "to_segment": now.filter(inside),
            }
        )
        Path(item["out"]).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.sort_by("uid"), item["out"])
    return {
        "bucket": item["bucket"],
        "moves": [[a, b, n] for (a, b), n in moves.items()],
        "users": item["out"] if len(uid) else None,
    }


def _snapshot(files: list[str], scheme: str) -> pa.Table:
    columns = ["uid", "is_member", scheme]
    parts = [pq.read_table(f, columns=columns, partitioning=None, use_threads=False) for f in files]
    empty = pa.table({"uid": pa.array([], pa.int64()), "is_member": pa.array([], pa.bool_())})
    whole = pa.concat_tables(parts or [empty], promote_options="default")
    return (whole if len(parts) == 1 else whole.sort_by("uid")).combine_chunks()
