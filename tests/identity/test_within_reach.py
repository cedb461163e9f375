"""Persons worked out within reach of a day's links: day by day the tables are those of working them out whole."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.identity import persons, step
from jobs.identity.step import IdentityReport, update_identity
from lake import journal
from lake.engine import Engine
from lake.lake import Lake
from schemas.contracts import contract
from tests.identity.oracle import Row
from tests.identity.tables import SALT, published
from tests.identity.worlds import FEEDS, ZONE, apart, deliver

HISTORIES = int(os.environ.get("HUAXIANG_HISTORIES", "2"))
"""How many are tried; the release check tries two hundred."""
SHOPS, DAYS, MOST = 150, 4, 2
FIRST = date(2026, 3, 1)


class History:
    """Shops of few persons whose ids meet often, apart from each other; a day brings rows to some of them."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.names = self.random.choice([2, 3, 5])
        self.shops: list[list[Row]] = [[] for _ in range(SHOPS)]

    def day(self) -> list[Row]:
        """Rows of one delivery: dated on any day."""
        came: list[list[Row]] = [[] for _ in range(SHOPS)]
        for shop in came:
            if self.random.random() < 0.7:
                shop += [self.row() for _ in range(self.random.choice([1, 1, 2, 6]))]
        return apart(came)

    def row(self) -> Row:
        feed = self.random.choice(FEEDS)
        kinds = list(contract(f"silver.{feed}").persons)
        ids = {k: self.some(k[0]) for k in self.random.sample(kinds, self.random.randint(0, min(3, len(kinds))))}
        day = FIRST + timedelta(days=self.random.randrange(6))
        maybe = self.random.random
        if feed == "members":
            return Row(
                day,
                ids | {"member": self.some("m")},
                feed,
                merged_into=self.some("m") if maybe() < 0.2 else None,
                inviter=self.some("m") if maybe() < 0.3 else None,
                phone_verified=maybe() < 0.3,
            )
        sharer = self.some("m") if feed == "shares" and maybe() < 0.5 else None
        return Row(day, ids, feed, sharer=sharer, order_id=self.some("o") if feed == "orders" else None)

    def some(self, prefix: str) -> str:
        return f"{prefix}{self.random.randrange(self.names)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_what_is_worked_out_within_reach_is_what_is_worked_out_whole(
    tmp_path: Path, embedded: Engine, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(step, "MOST_PATCHES", 2)
    history = History(seed)
    _compare(tmp_path, embedded, monkeypatch, [history.day() for _ in range(DAYS)])


def _compare(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, days: list[list[Row]]) -> None:
    """Two lakes, one worked out within reach and one whole, day by day."""
    near, whole = (Lake(tmp_path / name, ZONE) for name in ("near", "whole"))
    for n, rows in enumerate(days):
        found = []
        for lake, widest in ((near, 1e9), (whole, -1.0)):
            monkeypatch.setattr(persons, "WIDEST_REACH", widest)
            deliver(lake, rows, f"b{n}")
            found.append((_run(lake, engine, f"r{n}", FIRST + timedelta(days=20 + n)), _tables(lake)))
        (by_reach, ours), (of_all, theirs) = found
        for table, expected in theirs.items():
            assert ours[table] == expected, (table, n)
        assert by_reach.warnings == of_all.warnings
        assert (by_reach.users, by_reach.new_users, by_reach.moves) == (of_all.users, of_all.new_users, of_all.moves)


def march(day: int) -> date:
    return date(2026, 3, day)


def row(day: int, **ids: str) -> Row:
    return Row(march(day), ids)


def _merged_into(member: str, into: str) -> Row:
    return Row(march(9), {"member": member}, "members", merged_into=into)


FAR: dict[str, tuple[list[Row], list[Row]]] = {
    "an event of its own after the day from which an id is shared": (
        [row(1, member="a", device="d"), row(1, device="d"), row(3, member="b", device="d")],
        [row(5, device="d")],
    ),
    "an id beside one that is shared no more": (
        [
            row(1, member="a", device="d1"),
            row(2, member="b", device="d1"),
            row(1, member="k", device="d2"),
            row(3, device="d1", cookie="c"),
            row(4, device="d2", cookie="c"),
        ],
        [_merged_into("a", "b")],
    ),
    "an id that goes to a member whom no new link names": (
        [
            row(1, member="m", device="d"),
            row(2, member="k", openid="n"),
            row(3, device="d", cookie="c"),
            row(4, openid="n", cookie="c"),
        ],
        [row(5, member="m2", device="d")],
    ),
    "an id that goes to a visitor whom no new link names": (
        [row(1, device="o", cookie="z"), row(2, device="o2", cookie="z"), row(1, openid="w", device="o")],
        [row(3, member="m", openid="w")],
    ),
    "an id that goes to a visitor who is beside somebody's id": (
        [
            row(1, device="o", cookie="z"),
            row(2, device="o2", cookie="z"),
            row(1, openid="w", device="o"),
            row(2, openid="e", device="o2"),
            row(1, unionid="q", openid="e"),
            row(1, member="k", unionid="q"),
        ],
        [row(3, member="m", openid="w")],
    ),
    "the first event of an id that was nobody's": (
        [
            Row(march(1), {"member": "a", "phone": "p"}, "members"),
            row(2, phone="p", device="d"),
            row(3, device="d", cookie="c"),
        ],
        [row(5, cookie="c")],
    ),
    "another id of nobody beside the one that comes to life": (
        [row(1, member="m", unionid="u"), row(2, unionid="u", openid="o"), row(3, openid="o", device="d", cookie="c")],
        [row(5, device="d")],
    ),
    "a chain of members of whom the last was merged before": (
        [
            row(1, member="a"),
            row(2, member="b", device="d"),
            row(3, member="c", device="d"),
            _merged_into("c", "e"),
        ],
        [_merged_into("a", "b"), _merged_into("e", "b")],
    ),
}


def test_what_a_link_changes_far_from_itself_is_found(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (apart([shop[n] for shop in FAR.values()]) for n in range(2))
    _compare(tmp_path, engine, monkeypatch, [first, second])


def _run(lake: Lake, engine: Engine, run_id: str, as_of: date) -> IdentityReport:
    report = update_identity(lake, engine, as_of, run_id, SALT, members_per_person=MOST)
    journal.finish(lake, run_id)
    return report


def _tables(lake: Lake) -> dict[str, Any]:
    found = published(lake)
    return {
        "users": found.users,
        "identifiers": found.identifiers,
        "merges": found.merges,
        "links": _merged(found.links),
    }


def _merged(links: list[dict[str, Any]]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """What rows of a pair say together."""
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for r in links:
        rows[tuple(r[k] for k in ("id_kind", "id_value", "other_kind", "other_value"))].append(r)

    def of(pair: list[dict[str, Any]], column: str, choose: Any) -> Any:
        return choose((r[column] for r in pair if r[column] is not None), default=None)

    columns = {"from_day": min, "first_seen_at": min, "phone_verified": max, "own_first_at": min, "own_last_at": max}
    return {key: tuple(of(pair, *c) for c in columns.items()) for key, pair in rows.items()}
