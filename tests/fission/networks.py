"""The same trees by networkx, one node at a time: what the array code is held against."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np


def graph(parent: Sequence[int]) -> nx.DiGraph:
    """Edges from parent to child; -1 is none."""
    found = nx.DiGraph()
    found.add_nodes_from(range(len(parent)))
    found.add_edges_from((p, c) for c, p in enumerate(parent) if p >= 0)
    return found


def without_cycles(parent: Sequence[int], at: Sequence[int]) -> list[int]:
    """The parents after every cycle lost its latest edge (of equal ones that of the greater node)."""
    found = list(parent)
    for cycle in list(nx.simple_cycles(graph(parent))):
        found[max(cycle, key=lambda c: (at[c], c))] = -1
    return found


def facts(parent: Sequence[int]) -> dict[str, list[int]]:
    """root, level, size and depth of every node of an acyclic forest."""
    g = graph(parent)
    assert nx.is_forest(g.to_undirected())
    found: dict[str, list[int]] = {"root": [], "level": [], "size": [], "depth": []}
    for node in g:
        above = nx.ancestors(g, node)
        found["root"].append(next((a for a in above if g.in_degree(a) == 0), node))
        found["level"].append(len(above))
        lengths = nx.single_source_shortest_path_length(g, node)
        found["size"].append(len(lengths))
        found["depth"].append(max(lengths.values()))
    return found


def mean_distance(parent: Sequence[int], root: int) -> float:
    """Mean distance over all pairs of the tree below ``root``."""
    g = graph(parent)
    return float(nx.average_shortest_path_length(g.subgraph({root, *nx.descendants(g, root)}).to_undirected()))


def chain(n: int) -> np.ndarray:
    return np.arange(-1, n - 1)


def star(n: int) -> np.ndarray:
    return np.where(np.arange(n) == 0, -1, 0)


def complete_tree(children: int, levels: int) -> np.ndarray:
    """A tree in which every person down to ``levels`` brings so many others."""
    n = sum(children**k for k in range(levels + 1))
    return np.array([-1, *((np.arange(1, n) - 1) // children)])
