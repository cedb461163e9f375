"""Map task ``forest``: all first touches together become trees (one task: a tree knows no buckets).

Memory is arrays over the users who brought or were brought, some 200 bytes each, and 4 bytes for every uid given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.fission.settings import FissionSettings
from features.fission.shape import (
    STRUCTURES,
    Trees,
    community_structures,
    edges_beyond,
    extra_edges_of_roots,
    trees,
)
from features.fission.touches import NEVER
from features.fission.tree import ROOT, Forest, below, forest
from features.kernel.arrays import to_arrow
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.array_files import joined, load_arrays, save_arrays
from jobs.fission.touches import KINDS
from lake.spans import span
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract

FISSION_KINDS = ("none", "activity", "distribution", "membership")
"""Codes of fission_kind are places in this list."""


def forest_of_touches(item: dict[str, Any]) -> dict[str, Any]:
    """Write ``share_edges``, ``share_trees`` and, for the tasks that follow, arrays per person of a tree; gives counts.

    ``item``: ``folders`` (what ``touches_of_bucket`` wrote, in order of bucket), ``greatest_uid``, ``settings``,
    ``edges_out`` and ``trees_out`` (files), ``out``.
    """
    settings = FissionSettings.model_validate(item["settings"])
    folders = item["folders"]
    node_uid, place, touch = _touched(folders, item["greatest_uid"])
    n = len(node_uid)
    found = forest(touch.parent, touch.at)
    bought, net = _money(folders, place, n)
    kind = _kinds(found, touch.in_group, _level_holders(folders, node_uid))
    beyond = extra_edges_of_roots(found, _pairs_beyond(folders, place, found))
    del place
    shape = trees(found, beyond)
    structure = community_structures(
        shape,
        users=settings.structure_users,
        honeycomb=settings.honeycomb_share,
        umbrella=settings.umbrella_share,
        tower=settings.tower_levels,
    )
    structure_of_root = np.zeros(n, np.int8)
    structure_of_root[shape.root] = structure
    conversions = np.bincount(found.root[bought], minlength=n)[shape.root]
    _write_edges(item["edges_out"], node_uid, found, touch, kind)
    _write_trees(item["trees_out"], node_uid, shape, conversions, structure)
    is_root = found.parent == ROOT
    save_arrays(
        item["out"],
        uid=node_uid,
        parent_uid=np.where(is_root, ROOT, node_uid[found.parent]),
        root_uid=node_uid[found.root],
        touched_at=np.where(is_root, NEVER, touch.at),
        joined_at=touch.joined_at,
        level=found.level,
        children=found.children,
        descendants=found.size - 1,
        depth=found.depth,
        structure=structure_of_root[found.root],
        kind=kind,
        downline_users=below(found, np.ones(n, np.int64), settings.paid_levels),
        downline_net=below(found, net, settings.paid_levels),
    )
    return {
        "edges": int((~is_root).sum()),
        "trees": len(shape.root),
        "cut": np.bincount(touch.kind[found.cut], minlength=len(KINDS)).tolist(),
    }


class _Touch(NamedTuple):
    """By node: the place of who brought it (``ROOT`` for nobody), when, when it joined, how that is known."""

    parent: np.ndarray
    at: np.ndarray
    joined_at: np.ndarray
    kind: np.ndarray
    in_group: np.ndarray


def _touched(folders: Sequence[str], greatest_uid: int) -> tuple[np.ndarray, np.ndarray, _Touch]:
    """uid of every node in order, place of every uid, and the touch that brought each node."""
    child, parent = joined(folders, "child"), joined(folders, "parent")
    node_uid, place = places_of(child, parent, greatest_uid)
    n, at = len(node_uid), place[child]

    def by_node(values: np.ndarray, others: int) -> np.ndarray:
        found = np.full(n, others, values.dtype)
        found[at] = values
        return found

    touch = _Touch(
        by_node(place[parent].astype(np.int64), ROOT),
        by_node(joined(folders, "touched_at"), NEVER),
        by_node(joined(folders, "joined_at"), NEVER),
        by_node(joined(folders, "touch_kind"), 0),
        by_node(joined(folders, "in_group"), 0),
    )
    return node_uid, place, touch


def places_of(child: np.ndarray, parent: np.ndarray, greatest_uid: int) -> tuple[np.ndarray, np.ndarray]:
    """(uid of every node in order, place of every uid or -1); uids are dense, so marking beats sorting them."""
    there = np.zeros(greatest_uid + 1, np.bool_)
    there[child] = True
    there[parent] = True
    node_uid = np.flatnonzero(there)
    place = np.full(greatest_uid + 1, -1, np.int32)
    place[node_uid] = np.arange(len(node_uid), dtype=np.int32)
    return node_uid, place


def _money(folders: Sequence[str], place: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes who ever paid, and every node's net amount of the window."""
    bought, net = [], np.zeros(n, np.int64)
    for folder in folders:
        bucket = bucket_of_folder(folder)
        buyer, amount = load_arrays(folder, "buyer", "buyer_net")
        uid = buyer + bucket * USERS_PER_BUCKET
        known = uid < len(place)
        node = place[uid[known]]
        inside = node >= 0
        net[node[inside]] = amount[known][inside]
        bought.append(node[inside])
    return np.concatenate(bought), net


def _level_holders(folders: Sequence[str], node_uid: np.ndarray) -> np.ndarray:
    """A flag per node: has a distributor level."""
    flags = np.zeros(len(node_uid), np.bool_)
    for folder in folders:
        (level,) = load_arrays(folder, "level")
        part, first = of_bucket(node_uid, bucket_of_folder(folder))
        flags[part] = level[node_uid[part] - first] >= 0
    return flags


def of_bucket(node_uid: np.ndarray, bucket: int) -> tuple[slice, int]:
    """Where the bucket's users stand among sorted uids, and the bucket's first uid."""
    first = bucket * USERS_PER_BUCKET
    low, high = np.searchsorted(node_uid, [first, first + USERS_PER_BUCKET])
    return slice(int(low), int(high)), first


def bucket_of_folder(folder: str) -> int:
    return int(folder.rsplit("-", 1)[1])


def _kinds(found: Forest, in_group: np.ndarray, has_level: np.ndarray) -> np.ndarray:
    """Kind of fission per node, first match: activity, then distribution, else membership; none for roots."""
    linked = found.parent != ROOT
    by_seller = linked & has_level[np.where(linked, found.parent, 0)] if len(linked) else linked
    codes = np.select([~linked, in_group, by_seller], [0, 1, 2], 3)
    return np.asarray(codes, np.int8)


def _pairs_beyond(folders: Sequence[str], place: np.ndarray, found: Forest) -> np.ndarray:
    """Every pair of people of one tree who touched each other beyond its edges."""
    parts = [np.empty(0, np.int64)]
    for folder in folders:
        opener, sharer = (place[uid].astype(np.int64) for uid in load_arrays(folder, "pair_opener", "pair_sharer"))
        inside = (opener >= 0) & (sharer >= 0)
        parts.append(edges_beyond(found, opener[inside], sharer[inside]))
    return np.unique(np.concatenate(parts))


def _write_edges(out: str, uid: np.ndarray, found: Forest, touch: _Touch, kind: np.ndarray) -> None:
    linked = np.flatnonzero(found.parent != ROOT)
    if not len(linked):
        return
    stamp = pa.timestamp("us", "UTC")
    write_table(
        "fission.share_edges",
        out,
        uid=uid[linked],
        parent_uid=uid[found.parent[linked]],
        root_uid=uid[found.root[linked]],
        level=found.level[linked],
        touch_kind=texts_at(KINDS, touch.kind[linked]),
        fission_kind=texts_at(FISSION_KINDS, kind[linked]),
        touched_at=to_arrow(touch.at[linked], None, stamp),
        joined_at=to_arrow(touch.joined_at[linked], None, stamp),
    )


def _write_trees(out: str, uid: np.ndarray, shape: Trees, conversions: np.ndarray, structure: np.ndarray) -> None:
    if not len(shape.root):
        return
    write_table(
        "fission.share_trees",
        out,
        root_uid=uid[shape.root],
        tree_users=shape.users,
        tree_depth=shape.depth,
        tree_conversions=conversions,
        largest_hub_users=shape.hub,
        extra_edges=shape.extra_edges,
        structural_virality=np.round(shape.virality, 6),
        community_structure=texts_at(STRUCTURES, structure),
    )


def texts_at(names: Sequence[str], codes: np.ndarray) -> pa.Array:
    """Texts from places in a list."""
    return pa.array(names).take(to_arrow(codes.astype(np.int32), None, pa.int32()))


@span("write", "parquet")
def write_table(table: str, out: str, **columns: np.ndarray | pa.Array) -> None:
    """One data file of a table; arrays become the types of its contract, nan becomes null."""
    c = contract(table)
    schema = file_schema(arrow_schema(c), c.partitions)
    arrays = []
    for f in schema:
        values = columns[f.name]
        if not isinstance(values, np.ndarray):
            arrays.append(values)
        elif pa.types.is_floating(f.type):
            arrays.append(to_arrow(values.astype(np.float64), np.isnan(values), f.type))
        elif pa.types.is_boolean(f.type):
            bits = pa.py_buffer(np.packbits(values, bitorder="little"))
            arrays.append(pa.Array.from_buffers(f.type, len(values), [None, bits]))
        else:
            arrays.append(to_arrow(values.astype(f.type.to_pandas_dtype()), None, f.type))
    pq.write_table(pa.table(arrays, schema=schema), out, compression="zstd")
