"""Parents as a forest: cycles cut, root, level, and what lies below everybody.

Everything is pointer doubling over whole arrays: the work is nodes x log2(levels), so a chain of a thousand levels
takes ten rounds and a star takes one. Memory is some ten arrays of 8 bytes a node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROOT = -1
"""Parent of who was brought by nobody."""


@dataclass(frozen=True)
class Forest:
    """Per node: its ``parent`` (``ROOT``), ``root``, ``level`` (0 for a root), ``size`` of its subtree (itself
    included) and ``depth``, the levels below it. ``cut`` are the nodes whose edge closed a cycle."""

    parent: np.ndarray
    root: np.ndarray
    level: np.ndarray
    size: np.ndarray
    depth: np.ndarray
    cut: np.ndarray

    @property
    def is_root(self) -> np.ndarray:
        return np.asarray(self.parent == ROOT)

    @property
    def children(self) -> np.ndarray:
        """Direct children of every node."""
        return np.bincount(self.parent[self.parent != ROOT], minlength=len(self.parent))


def forest(parent: np.ndarray, touched_at: np.ndarray) -> Forest:
    """The forest of nodes 0..n-1 by their parents; every cycle is cut at its latest edge.

    ``touched_at`` is the moment of each node's edge; of edges at the same moment that of the greater node is cut.
    """
    parent = np.array(parent, np.int64)
    cut = _latest_edges(_on_cycles(parent), parent, touched_at)
    parent[cut] = ROOT
    n = len(parent)
    jump = np.where(parent == ROOT, np.arange(n), parent)
    level = (parent != ROOT).astype(np.int32)
    size, depth = np.ones(n, np.int64), np.zeros(n, np.int32)
    step = 1
    while True:
        # who has an ancestor exactly ``step`` above: what was counted up to step - 1 below it is new to that ancestor
        reach = np.flatnonzero(level == step)
        if not len(reach):
            return Forest(parent, jump, level, size, depth, cut)
        above = jump[reach]
        # whole numbers below 2^53: exact
        size += np.bincount(above, weights=size[reach], minlength=n).astype(np.int64)
        np.maximum.at(depth, above, depth[reach] + np.int32(step))
        level[reach] += level[above]
        jump[reach] = jump[above]
        step *= 2


def _on_cycles(parent: np.ndarray) -> np.ndarray:
    """Nodes that are their own ancestors.

    After at least n steps every walk has ended at a root or goes round; where walks go round, they end on all nodes of
    the cycle and on no other.
    """
    n = len(parent)
    jump = np.where(parent == ROOT, np.arange(n), parent)
    ends = parent == ROOT
    walking = np.flatnonzero(~ends)
    step = 1
    while len(walking) and step < n:
        jump[walking] = jump[jump[walking]]
        walking = walking[~ends[jump[walking]]]
        step *= 2
    return np.unique(jump[walking])


def _latest_edges(nodes: np.ndarray, parent: np.ndarray, touched_at: np.ndarray) -> np.ndarray:
    """Of each cycle among ``nodes`` the one whose edge is the latest."""
    if not len(nodes):
        return nodes
    up = np.searchsorted(nodes, parent[nodes])
    name = np.minimum(np.arange(len(nodes)), up)
    step = 1
    while step < len(nodes):
        name = np.minimum(name, name[up])
        up = up[up]
        step *= 2
    order = np.lexsort((nodes, touched_at[nodes], name))
    last = np.ones(len(order), np.bool_)
    last[:-1] = name[order][1:] != name[order][:-1]
    return np.sort(nodes[order[last]])


def below(forest_: Forest, values: np.ndarray, levels: int) -> np.ndarray:
    """Per node the sum of ``values`` over everybody 1 to ``levels`` levels below."""
    n = len(forest_.parent)
    kids = np.flatnonzero(forest_.parent != ROOT)
    above = forest_.parent[kids]
    total, at_level = np.zeros(n, np.int64), np.asarray(values, np.int64)
    for _ in range(levels):
        at_level = np.bincount(above, weights=at_level[kids], minlength=n).astype(np.int64)
        total += at_level
        if not at_level.any():
            break
    return total
