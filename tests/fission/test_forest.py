"""Trees from parents: by hand, by the published figures, and by networkx on random forests and graphs with cycles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.fission.growth import users_after
from features.fission.shape import (
    STRUCTURES,
    community_structures,
    edges_beyond,
    extra_edges_of_roots,
    structural_virality,
    trees,
)
from features.fission.tree import ROOT, Forest, below, forest
from tests.fission import networks


def grown(parent: np.ndarray, at: np.ndarray | None = None) -> Forest:
    return forest(parent, np.zeros(len(parent), np.int64) if at is None else at)


@st.composite
def parents(draw: st.DrawFn, cycles: bool) -> tuple[list[int], list[int]]:
    n = draw(st.integers(1, 24))
    parent = [draw(st.integers(-1, n - 1 if cycles else i - 1)) for i in range(n)]
    parent = [-1 if p == i else p for i, p in enumerate(parent)]
    shuffled = draw(st.permutations(range(n)))
    moved = [-1] * n
    for child, p in enumerate(parent):
        moved[shuffled[child]] = -1 if p < 0 else shuffled[p]
    return moved, draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))


@given(parents(cycles=False))
def test_random_forests_are_as_networkx_has_them(drawn: tuple[list[int], list[int]]) -> None:
    parent, at = drawn
    found = forest(np.array(parent), np.array(at))
    wanted = networks.facts(parent)
    assert not len(found.cut)
    for name in ("root", "level", "size", "depth"):
        assert getattr(found, name).tolist() == wanted[name], name
    virality = structural_virality(found)
    for root in np.flatnonzero(found.is_root):
        if found.size[root] == 1:
            assert np.isnan(virality[root])
        else:
            assert virality[root] == pytest.approx(networks.mean_distance(parent, int(root)))


@given(parents(cycles=True))
def test_every_cycle_loses_its_latest_edge_and_nothing_else(drawn: tuple[list[int], list[int]]) -> None:
    parent, at = drawn
    found = forest(np.array(parent), np.array(at))
    wanted = networks.without_cycles(parent, at)
    assert found.parent.tolist() == wanted
    assert found.cut.tolist() == [c for c, p in enumerate(parent) if p != wanted[c]]
    for name, values in networks.facts(wanted).items():
        assert getattr(found, name).tolist() == values, name


@given(parents(cycles=False), st.integers(1, 4))
def test_a_down_line_is_everybody_so_many_levels_below(drawn: tuple[list[int], list[int]], levels: int) -> None:
    parent, _ = drawn
    values = np.arange(1, len(parent) + 1) * 100
    found = forest(np.array(parent), np.zeros(len(parent), np.int64))
    wanted = [0] * len(parent)
    for child in range(len(parent)):
        above = parent[child]
        for _ in range(levels):
            if above < 0:
                break
            wanted[above] += int(values[child])
            above = parent[above]
    assert below(found, values, levels).tolist() == wanted


def test_an_empty_forest_has_nothing() -> None:
    found = grown(np.empty(0, np.int64))
    assert len(found.root) == len(trees(found, np.empty(0, np.int64)).root) == 0


@pytest.mark.parametrize("n", [2, 5, 100])
def test_structural_virality_of_a_star_and_a_chain_is_as_published(n: int) -> None:
    assert structural_virality(grown(networks.star(n)))[0] == pytest.approx(2 * (n - 1) / n)
    assert structural_virality(grown(networks.chain(n)))[0] == pytest.approx((n + 1) / 3)


def test_structural_virality_of_the_binary_tree_of_fifteen_is_as_published() -> None:
    assert structural_virality(grown(networks.complete_tree(2, 3)))[0] == pytest.approx(3.50476, abs=5e-6)


def test_ten_seeds_who_bring_two_each_grow_as_published() -> None:
    tree = networks.complete_tree(2, 5)
    parent = np.concatenate([np.where(tree < 0, ROOT, tree + i * len(tree)) for i in range(10)])
    found = grown(parent)
    assert np.cumsum(np.bincount(found.level)).tolist() == [10, 30, 70, 150, 310, 630]
    assert [users_after(10, 2, t, 1) for t in range(6)] == [10, 30, 70, 150, 310, 630]
    assert users_after(10, 2, 20, 2) == 20_470
    assert users_after(10, 2, 20, 1) == 20_971_510
    assert users_after(10, 1, 3, 1) == 40


def test_edges_beyond_the_tree_count_a_pair_once_and_no_edge_of_it() -> None:
    #    0        6
    #   / \       |
    #  1   2      7
    #  |
    #  3
    found = grown(np.array([-1, 0, 0, 1, -1, -1, -1, 6]))
    one = np.array([1, 2, 1, 3, 0, 3, 1, 7, 2])
    other = np.array([2, 1, 2, 0, 3, 1, 0, 1, 2])
    pairs = edges_beyond(found, one, other)
    assert [(int(p >> 32), int(p & 0xFFFFFFFF)) for p in pairs] == [(0, 3), (1, 2)]
    assert extra_edges_of_roots(found, pairs).tolist() == [2, 0, 0, 0, 0, 0, 0, 0]


def structure(parent: np.ndarray, extra: int = 0) -> str:
    found = grown(parent)
    beyond = np.zeros(len(parent), np.int64)
    beyond[0] = extra
    (code,) = community_structures(trees(found, beyond))
    return STRUCTURES[code]


def test_community_structures_are_told_apart_in_order() -> None:
    mixed = np.array([-1, 0, 0, 0, 0, 1, 1, 2, 2, 3])
    assert structure(networks.star(9)) == "none"
    assert structure(networks.star(10)) == "umbrella"
    assert structure(networks.chain(10)) == "tower"
    assert structure(mixed) == "mixed"
    # nine edges and two beyond are 18 %, three are 25 %
    assert structure(mixed, 2) == "mixed"
    assert structure(mixed, 3) == "honeycomb"
    assert structure(networks.star(10), 3) == "honeycomb"
    # six of ten under one person, and a tail of four levels
    assert structure(np.array([-1, 0, 0, 0, 0, 0, 0, 6, 7, 8])) == "umbrella"
    assert structure(np.array([-1, 0, 0, 0, 0, 0, 5, 6, 7, 8])) == "tower"


def test_trees_tell_their_largest_hub_and_depth() -> None:
    found = trees(grown(np.array([-1, 0, 1, 1, 1, -1, -1, 6])), np.zeros(8, np.int64))
    assert found.root.tolist() == [0, 6]
    assert found.users.tolist() == [5, 2]
    assert found.hub.tolist() == [3, 1]
    assert found.depth.tolist() == [2, 1]


def test_two_cycles_of_one_moment_are_cut_at_the_greater_node() -> None:
    found = grown(np.array([1, 0, 3, 4, 2, 2]))
    assert found.cut.tolist() == [1, 4]
    assert found.level.tolist() == [1, 0, 2, 1, 0, 3]
