"""Map task ``reach_trees``: the trees of all who were reached, whether they ever join or not, by root and by card.

Memory is that of the task ``forest`` over the people who opened a share or shared what was opened; by card, a node is a
person and a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from features.fission.shape import trees
from features.fission.tree import ROOT, forest
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.array_files import joined, load_arrays
from jobs.fission.tasks import bucket_of_folder, places_of, write_table

TABLES = {"root": "fission.reach_trees", "card": "fission.card_trees"}
"""By what trees are told apart."""
_ARRAYS = {"root": "reach", "card": "card"}


def reach_trees(item: dict[str, Any]) -> dict[str, Any]:
    """Write ``reach_trees`` or ``card_trees``; gives how many trees.

    ``item``: ``by`` (a key of ``TABLES``), ``folders`` (what ``touches_of_bucket`` wrote), ``greatest_uid``, ``trees_out``
    (a file).
    """
    by, folders = item["by"], item["folders"]
    prefix = _ARRAYS[by]
    child, parent, at = (joined(folders, f"{prefix}_{n}") for n in ("child", "parent", "at"))
    if not len(child):
        return {"trees": 0}
    node_uid, place = places_of(child, parent, item["greatest_uid"])
    if by == "card":
        sku, card = np.unique(joined(folders, "card_sku"), return_inverse=True)
        # a node is one person's share or opening of one product
        keys = np.concatenate([place[child], place[parent]]) * np.int64(len(sku)) + np.concatenate([card, card])
        node, ends = np.unique(keys, return_inverse=True)
        child_node, parent_node = ends[: len(child)], ends[len(child) :]
        person, of_card = node // len(sku), sku[node % len(sku)]
    else:
        child_node, parent_node = place[child], place[parent]
        person, of_card = np.arange(len(node_uid)), np.zeros(len(node_uid), np.int32)
    n = len(person)
    parents, moments = np.full(n, ROOT, np.int64), np.zeros(n, np.int64)
    parents[child_node], moments[child_node] = parent_node, at
    found = forest(parents, moments)
    shape = trees(found, np.zeros(n, np.int64))

    def of_tree(flags: np.ndarray) -> np.ndarray:
        """How many people of each tree are flagged."""
        return np.bincount(found.root[flags[person]], minlength=n)[shape.root]

    columns: dict[str, Any] = {"root_uid": node_uid[person[shape.root]]}
    if by == "card":
        columns["sku_code"] = of_card[shape.root]
    write_table(
        TABLES[by],
        item["trees_out"],
        **columns,
        tree_users=shape.users,
        tree_depth=shape.depth,
        tree_joined=of_tree(_flags(folders, "joined", place, len(node_uid))),
        tree_conversions=of_tree(_flags(folders, "buyer", place, len(node_uid))),
        largest_hub_users=shape.hub,
        structural_virality=np.round(shape.virality, 6),
    )
    return {"trees": len(shape.root)}


def _flags(folders: Sequence[str], name: str, place: np.ndarray, n: int) -> np.ndarray:
    """A flag per person: the bucket's array ``name`` has them."""
    found = np.zeros(n, np.bool_)
    for folder in folders:
        uid = load_arrays(folder, name)[0] + np.int64(bucket_of_folder(folder) * USERS_PER_BUCKET)
        at = place[uid[uid < len(place)]]
        found[at[at >= 0]] = True
    return found
