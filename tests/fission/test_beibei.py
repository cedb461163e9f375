"""Real cascades: groups opened on Beibei and the friends who joined, every figure computed a second way."""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import islice
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from features.fission.shape import (
    STRUCTURES,
    Trees,
    community_structures,
    edges_beyond,
    extra_edges_of_roots,
    trees,
)
from features.fission.touches import FIRST, outcomes
from features.fission.tree import ROOT, Forest, forest

GROUPS = 40_000
"""So many groups, the first of the file, are enough for trees of five levels."""
SMALLEST = 4
"""Real groups are small: structures are told from so many people on."""
FILE = Path(__file__).parents[3] / "shared/data/beibei/tune.txt.gz"
pytestmark = pytest.mark.slow

Group = tuple[int, list[int]]


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    """Initiator and friends, in the order of the file, which stands for time."""
    if not FILE.exists():
        pytest.skip(f"{FILE.name} of Beibei is not there")
    found = []
    with gzip.open(FILE, "rt") as lines:
        for line in islice(lines, GROUPS):
            initiator, _, *friends = map(int, line.split("\t"))
            found.append((initiator, friends))
    return found


@pytest.fixture(scope="module")
def by_arrays(groups: list[Group]) -> tuple[np.ndarray, Forest, Trees]:
    """uid of every node, the forest and its trees: a friend was brought by the initiator of the first group joined,
    unless the friend had opened a group before."""
    person = np.array([f for _, friends in groups for f in friends])
    sharer = np.repeat([i for i, _ in groups], [len(f) for _, f in groups])
    moment = np.repeat(np.arange(len(groups)) * 2, [len(f) for _, f in groups])
    uid = np.unique(np.concatenate([person, sharer]))
    person, sharer = np.searchsorted(uid, person), np.searchsorted(uid, sharer)
    joined = np.full(len(uid), np.iinfo(np.int64).max - 1)
    np.minimum.at(joined, person, moment + 1)
    np.minimum.at(joined, sharer, moment)
    first = np.flatnonzero(outcomes(person, sharer, moment, joined[person]) == FIRST)
    parent, at = np.full(len(uid), ROOT), np.zeros(len(uid), np.int64)
    parent[person[first]], at[person[first]] = sharer[first], moment[first]
    found = forest(parent, at)
    beyond = extra_edges_of_roots(found, edges_beyond(found, person, sharer))
    return uid, found, trees(found, beyond)


@pytest.fixture(scope="module")
def by_hand(groups: list[Group]) -> nx.DiGraph:
    """The same, a line at a time."""
    parent: dict[int, int | None] = {}
    for initiator, friends in groups:
        parent.setdefault(initiator, None)
        for friend in sorted(friends):
            parent.setdefault(friend, initiator)
    found = nx.DiGraph()
    found.add_nodes_from(parent)
    found.add_edges_from((p, c) for c, p in parent.items() if p is not None)
    return found


def test_the_trees_of_real_cascades_are_as_networkx_has_them(
    by_arrays: tuple[np.ndarray, Forest, Trees], by_hand: nx.DiGraph
) -> None:
    uid, found, shape = by_arrays
    assert not len(found.cut)
    assert nx.is_forest(by_hand.to_undirected())
    levels: Counter[int] = Counter()
    roots = [n for n in by_hand if by_hand.in_degree(n) == 0]
    sizes, depths = {}, {}
    for root in roots:
        lengths = nx.single_source_shortest_path_length(by_hand, root)
        levels.update(lengths.values())
        sizes[root], depths[root] = len(lengths), max(lengths.values())
    assert np.bincount(found.level).tolist() == [levels[i] for i in range(len(levels))]
    at = dict(zip(uid[shape.root].tolist(), range(len(shape.root)), strict=True))
    assert set(at) == {r for r in roots if sizes[r] > 1}
    for root, i in at.items():
        assert (shape.users[i], shape.depth[i]) == (sizes[root], depths[root])
    largest = np.argsort(-shape.users, kind="stable")[:200]
    for i in largest:
        root = int(uid[shape.root[i]])
        tree = by_hand.subgraph({root, *nx.descendants(by_hand, root)})
        assert shape.hub[i] == max(d for _, d in tree.out_degree())
        assert shape.virality[i] == pytest.approx(nx.average_shortest_path_length(tree.to_undirected()))
    share = sum(levels[i] for i in (1, 2, 3)) / sum(n for i, n in levels.items() if i)
    print(
        f"beibei: {len(uid):,} people, {len(found.parent) - int(found.is_root.sum()):,} brought, {len(at):,} trees, "
        f"largest {shape.users.max()}, deepest {shape.depth.max()}, levels 1-3 {share:.1%} of the brought, "
        f"mean structural virality {shape.virality.mean():.4f}"
    )


def test_edges_beyond_the_trees_and_structures_are_as_counted_by_hand(
    groups: list[Group], by_arrays: tuple[np.ndarray, Forest, Trees], by_hand: nx.DiGraph
) -> None:
    uid, _, shape = by_arrays
    tree_of = {}
    for part in nx.weakly_connected_components(by_hand):
        root = next(n for n in part if by_hand.in_degree(n) == 0)
        tree_of |= dict.fromkeys(part, root)
    edges = {frozenset(e) for e in by_hand.edges}
    touched = {frozenset((i, f)) for i, friends in groups for f in friends if f != i}
    beyond = Counter(tree_of[min(p)] for p in touched - edges if len({tree_of[u] for u in p}) == 1)
    names = community_structures(shape, users=SMALLEST)
    counted: Counter[str] = Counter()
    for i, node in enumerate(shape.root):
        root = int(uid[node])
        extra, users = beyond[root], int(shape.users[i])
        assert shape.extra_edges[i] == extra
        wanted = "mixed"
        if users < SMALLEST:
            wanted = "none"
        elif extra / (extra + users - 1) >= 0.2:
            wanted = "honeycomb"
        elif shape.hub[i] >= 0.6 * users:
            wanted = "umbrella"
        elif shape.depth[i] >= 4:
            wanted = "tower"
        assert STRUCTURES[names[i]] == wanted
        counted[wanted] += 1
    print("beibei structures:", dict(counted))
    assert {"umbrella", "mixed"} <= set(counted)
    assert sum(n for name, n in counted.items() if name != "none") > 100
