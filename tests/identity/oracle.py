"""Persons by the rules of definitions.md section 13, in plain Python over single rows: slow, direct, independent.

Nothing here is shared with the code under test. Members are joined by networkx, every other rule is a loop.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date

import networkx as nx

ORDER = ["member", "phone", "unionid", "openid", "email", "device", "cookie", "guest"]

Id = tuple[str, str]
Interval = tuple[str, str, date | None, date | None]


@dataclass(frozen=True)
class Row:
    """One silver row: the acting person's ids, whose day it is, and what else it says."""

    day: date
    ids: dict[str, str]
    feed: str = "browse"
    merged_into: str | None = None
    inviter: str | None = None
    phone_verified: bool = False
    sharer: str | None = None
    order_id: str | None = None


@dataclass
class _Seen:
    ids: set[Id] = field(default_factory=set)
    together: dict[frozenset[Id], date] = field(default_factory=dict)
    same_member: set[tuple[str, str]] = field(default_factory=set)
    verified: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    own_days: dict[Id, set[date]] = field(default_factory=lambda: defaultdict(set))


def persons(rows: list[Row]) -> set[frozenset[Interval]]:
    """Every person as the set of ids and the days [from, until) for which each id is theirs."""
    seen = _read(rows)
    person_of_member = _members(seen)
    neighbours: dict[Id, dict[Id, date]] = defaultdict(dict)
    for pair, day in seen.together.items():
        a, b = pair
        neighbours[a][b] = neighbours[b][a] = day
    others = [i for i in seen.ids if i[0] not in ("member", "guest")]

    direct: dict[Id, list[tuple[date, str]]] = {}
    for i in others:
        first_day: dict[str, date] = {}
        for (kind, value), day in neighbours[i].items():
            if kind == "member" and (value in seen.verified[i[1]] or i[0] != "phone" or not seen.verified[i[1]]):
                person = person_of_member[value]
                first_day[person] = min(day, first_day.get(person, day))
        if first_day:
            direct[i] = sorted((d, m) for m, d in first_day.items())

    owner: dict[Id, tuple[str, date | None]] = {
        i: (found[0][1], found[1][0] if len(found) > 1 else None) for i, found in direct.items()
    }
    indirect: dict[Id, tuple[str, date | None]] = {}
    for i in others:
        if i in direct:
            continue
        near = [(n, day) for n, day in neighbours[i].items() if n in direct]
        exclusive = [(n, day) for n, day in near if len(direct[n]) == 1]
        candidates: dict[str, date] = {}
        cuts = []
        for n, day in exclusive or near:
            since, member = direct[n][0]
            since = max(since, day)
            candidates[member] = min(since, candidates.get(member, since))
            if len(direct[n]) > 1:
                cuts.append(max(day, direct[n][1][0]))
        ordered = sorted((d, m) for m, d in candidates.items())
        if ordered:
            cuts += [d for d, _ in ordered[1:2]]
            indirect[i] = (ordered[0][1], min(cuts) if cuts else None)
    owner |= indirect

    free = [i for i in others if i not in owner]
    target: dict[Id, Id] = {}
    for i in free:
        stronger = [
            (ORDER.index(n[0]), day, n[1], n)
            for n, day in neighbours[i].items()
            if n not in owner and n[0] != "member" and ORDER.index(n[0]) < ORDER.index(i[0])
        ]
        if stronger:
            target[i] = min(stronger)[-1]

    groups: dict[object, set[Interval]] = defaultdict(set)
    for kind, value in seen.ids:
        i = (kind, value)
        if kind == "member":
            groups["member", person_of_member[value]].add((kind, value, None, None))
        elif i in owner:
            person, cut = owner[i]
            groups["member", person].add((kind, value, None, cut))
            if cut is not None:
                groups[i].add((kind, value, cut, None))
        else:
            root = i
            while root in target:
                root = target[root]
            groups[root].add((kind, value, None, None))
    return {frozenset(g) for g in groups.values() if _is_somebody(g, seen)}


def _is_somebody(group: set[Interval], seen: _Seen) -> bool:
    """Has a record of one of their members, or an event that is one of their ids' own, on a day of theirs."""
    return any(
        any(start is None or day >= start for day in seen.own_days[kind, value]) for kind, value, start, _ in group
    )


def _read(rows: list[Row]) -> _Seen:
    seen = _Seen()
    for r in rows:
        ids = list(r.ids.items())
        seen.ids.update(ids)
        if ids:
            seen.own_days[min(ids, key=lambda i: ORDER.index(i[0]))].add(r.day)
        if not ids and r.order_id is not None:
            seen.ids.add(("guest", r.order_id))
            seen.own_days["guest", r.order_id].add(r.day)
        for n, a in enumerate(ids):
            for b in ids[n + 1 :]:
                pair = frozenset((a, b))
                seen.together[pair] = min(r.day, seen.together.get(pair, r.day))
        if r.sharer is not None:
            seen.own_days["member", r.sharer].add(r.day)
        seen.ids.update(("member", m) for m in (r.sharer, r.inviter, r.merged_into) if m is not None)
        if r.merged_into is not None:
            seen.same_member.add((r.ids["member"], r.merged_into))
        if r.phone_verified and "phone" in r.ids:
            seen.verified[r.ids["phone"]].add(r.ids["member"])
    return seen


def _members(seen: _Seen) -> dict[str, str]:
    graph = nx.Graph()
    graph.add_nodes_from(value for kind, value in seen.ids if kind == "member")
    graph.add_edges_from(seen.same_member)
    for members in seen.verified.values():
        nx.add_path(graph, sorted(members))
    return {m: min(component) for component in nx.connected_components(graph) for m in component}
