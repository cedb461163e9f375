"""What a tree looks like: structural virality, edges beyond the tree, community structure (definitions.md section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.fission.tree import Forest

STRUCTURES = ("none", "honeycomb", "umbrella", "tower", "mixed")
"""Codes of community structure are places in this list."""


@dataclass(frozen=True)
class Trees:
    """One row per root with at least one person below it, in order of node.

    ``users`` includes the root, ``depth`` is in levels, ``hub`` are the most children of one person, ``extra_edges``
    touches between two people of the tree that are no edge of it, ``virality`` the mean distance over all pairs.
    """

    root: np.ndarray
    users: np.ndarray
    depth: np.ndarray
    hub: np.ndarray
    extra_edges: np.ndarray
    virality: np.ndarray


def trees(forest: Forest, extra_edges: np.ndarray) -> Trees:
    """The trees of a forest; ``extra_edges`` is said per root node (see ``edges_beyond``)."""
    root = np.flatnonzero(forest.is_root & (forest.size > 1))
    hub = np.zeros(len(forest.root), np.int64)
    np.maximum.at(hub, forest.root, forest.children)
    return Trees(
        root=root,
        users=forest.size[root],
        depth=forest.depth[root],
        hub=hub[root],
        extra_edges=extra_edges[root],
        virality=structural_virality(forest)[root],
    )


def structural_virality(forest: Forest) -> np.ndarray:
    """Per root the mean distance over all ordered pairs of its tree; nan for one person and for who is no root.

    Goel, Anderson, Hofman, Watts (2016): 2n/(n-1) * (sum |S|/n - sum (|S|/n)^2) over the sizes of all subtrees.
    """
    n = len(forest.root)
    users = forest.size[forest.root]
    part = forest.size / users
    first = np.bincount(forest.root, weights=part, minlength=n)
    second = np.bincount(forest.root, weights=part * part, minlength=n)
    defined = forest.is_root & (forest.size > 1)
    found = np.full(n, np.nan)
    size = forest.size[defined].astype(np.float64)
    found[defined] = 2 * size / (size - 1) * (first[defined] - second[defined])
    return found


def edges_beyond(forest: Forest, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distinct pairs of people of one tree who touched each other and are not parent and child, as one number a pair.

    Which of the two shared does not matter. The numbers of several calls may be put together and made unique again.
    """
    same = forest.root[one] == forest.root[other]
    tied = (forest.parent[one] == other) | (forest.parent[other] == one)
    beyond = np.flatnonzero(same & ~tied & (one != other))
    a, b = one[beyond], other[beyond]
    return np.unique((np.minimum(a, b) << 32) | np.maximum(a, b))


def extra_edges_of_roots(forest: Forest, pairs: np.ndarray) -> np.ndarray:
    """Per root node how many of the pairs of ``edges_beyond`` lie in its tree."""
    return np.bincount(forest.root[pairs >> 32], minlength=len(forest.root))


def community_structures(
    found: Trees, *, users: int = 10, honeycomb: float = 0.2, umbrella: float = 0.6, tower: int = 4
) -> np.ndarray:
    """The structure of each tree as a place in ``STRUCTURES``, first match; ``none`` below ``users`` people.

    honeycomb: edges beyond the tree are at least this share of all; umbrella: one person has at least this share of
    the tree's people as children; tower: at least so many levels below the root.
    """
    beyond = found.extra_edges / (found.extra_edges + found.users - 1)
    names = np.select(
        [found.users < users, beyond >= honeycomb, found.hub >= umbrella * found.users, found.depth >= tower],
        [STRUCTURES.index(s) for s in ("none", "honeycomb", "umbrella", "tower")],
        STRUCTURES.index("mixed"),
    )
    return np.asarray(names, np.int8)
