"""The kernel against plain SQL, exactly: every measure, aggregate, window, condition and view."""

from __future__ import annotations

import random
from datetime import date, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.facts import Fact
from schemas.behaviours import BEHAVIOURS, BROWSE, DETAILS
from schemas.measures import MEASURES
from tests.kernel.shop import USERS, connect, differences, moments, row, table, values

FIRST = date(2026, 2, 20)
DAYS = 24
MOMENTS = moments(FIRST, DAYS, 9)
WINDOWS = (None, 1, 7, 20, 400)
WHERES: tuple[dict[str, Any], ...] = (
    {},
    {"brand": ["资生堂"]},
    {"brand": ["Lancôme", "O'Brand", "never seen"]},
    {"category": ["cream"], "channel": ["app", "web"]},
    {"category_parent": "skin", "on_promotion": True},
    {"in_category": ["skin", "cream"]},
    {"sku": ["SKU-1", "SKU-2", "SKU-3", "SKU-5", "SKU-7", "SKU-8"]},
    {"seller": ["O'Hara"]},
    {"detail": ["positive", "negative"]},
    {"peer": True},
    {"peer": False, "on_promotion": False},
    {"brand": ["no such brand"]},
)
FROMS = (
    ("view",),
    ("view", "click", "cart"),
    BROWSE,
    ("pay",),
    ("pay", "refund"),
    ("share", "share_opened"),
    ("order",),
)


@cache
def every_fact() -> list[Fact]:
    """All pairs of measure and aggregate over windows, conditions, behaviours and views."""
    found = []
    for measure, spec in MEASURES.items():
        for agg in spec.aggs:
            options: list[dict[str, Any]] = [{}]
            if agg == "preferred":
                options = [{}, {"half_life_days": 3, "weights": {"view": 2.5}, "min_events": 2}]
            if agg == "mode":
                options = [{}, {"min_share": 0.4}]
            if agg == "returned":
                options = [{"min_gap": 2}, {"min_gap": 6}, {"min_gaps": (6, 2, 3)}]
            if agg == "reached":
                options = [{"counts": (1, 2, 4)}]
            froms = FROMS
            if measure == "visits":
                froms = FROMS[:3]
            if measure == "net_amount":
                froms = (("pay",),)
            for window, ago in (*((w, 0) for w in WINDOWS), (7, 2)):
                for where in WHERES:
                    for behaviours in froms:
                        for option in options:
                            for view in ("behaviour", "cash"):
                                if "weights" in option and "view" not in behaviours:
                                    option = option | {"weights": {behaviours[0]: 0}}
                                declared = {
                                    "from": behaviours,
                                    "measure": measure,
                                    "agg": agg,
                                    "window": window,
                                    "ago": ago,
                                }
                                found.append(Fact.model_validate(declared | {"where": where, "view": view} | option))
    return found


FACTS = st.deferred(lambda: st.sampled_from(every_fact()))


def drawn_row(r: random.Random) -> dict[str, Any]:
    """Any row that the contract allows, sensible or not: the kernel must not rely on more than the contract."""
    at = r.choice(MOMENTS)
    plain = row(r.randrange(USERS), r.choice(list(BEHAVIOURS)), at)
    around = [plain["day"] + timedelta(days=d) for d in (0, 0, 0, 1, 3, 9)]
    return plain | {
        "sku_code": r.choice([0, 1, 1, 2, 3, 4, 5, 6, 7, 8]),
        "seller_code": r.choice([0, 1, 2]),
        "channel_code": r.choice([0, 1, 2, 3]),
        "order_key": r.choice([0, 11, 11, 12, -(2**63), 2**63 - 1]),
        "quantity": r.choice([0, 1, 2, 10**12]),
        "list_amount_minor": r.choice([0, 100, 9_999, 10**15]),
        "amount_minor": r.choice([0, 100, 4_999]),
        "on_promotion": r.random() < 0.5,
        "detail_code": r.choice([0, *DETAILS.values()]),
        "peer_uid": r.choice([-1, -1, 0, 1, 5, 2**40]),
        "valid_from_day": r.choice(around),
        "void_day": r.choice([None, None, *around]),
        "void_known_day": r.choice([None, *around]),
        "flagged_day": r.choice([None, None, None, None, None, *around]),
        "known_day": r.choice(around),
    }


def test_every_kind_of_fact_equals_its_sql_on_a_crowd_of_random_rows() -> None:
    r = random.Random(20260301)
    rows = table([drawn_row(r) for _ in range(900)])
    con = connect(rows)
    kinds = [[f for f in every_fact() if (f.measure, f.agg) == (m, a)] for m, s in MEASURES.items() for a in s.aggs]
    sample = [fact for kind in kinds for fact in r.sample(kind, 14)]
    for as_of, part in ((date(2026, 3, 15), sample[::2]), (date(2026, 3, 4), sample[1::2])):
        found = values([rows], part, as_of)
        assert differences(con, found, part, as_of) == []


RULES = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    # a smaller seed is no simpler example
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@RULES
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 60),
    facts=st.lists(FACTS, min_size=1, max_size=8, unique_by=lambda f: f.key),
    as_of=st.integers(-3, DAYS + 5),
    known=st.none() | st.integers(-3, DAYS + 5),
    files=st.integers(1, 4),
)
def test_any_rows_in_any_files_give_what_sql_gives(
    seed: int, count: int, facts: list[Fact], as_of: int, known: int | None, files: int
) -> None:
    r = random.Random(seed)
    rows = [drawn_row(r) for _ in range(count)]
    day = FIRST + timedelta(days=as_of)
    known_at_day = None if known is None else FIRST + timedelta(days=known)
    parts: list[list[dict[str, Any]]] = [[] for _ in range(files)]
    for one in rows:
        parts[r.randrange(files)].append(one)
    found = values([table(p) for p in parts], facts, day, known_at_day=known_at_day)
    assert differences(connect(table(rows)), found, facts, day, known_at_day=known_at_day) == []


@RULES
@given(
    seed=st.integers(0, 2**32),
    facts=st.lists(FACTS, min_size=3, max_size=12, unique_by=lambda f: f.key),
)
def test_the_order_of_rows_and_the_split_into_files_do_not_matter(seed: int, facts: list[Fact]) -> None:
    r = random.Random(seed)
    rows = [drawn_row(r) for _ in range(80)]
    whole = values([table(rows)], facts, date(2026, 3, 12))
    r.shuffle(rows)
    cut = r.randrange(len(rows))
    shuffled = [pa.Table.from_pylist(part, table(rows).schema) for part in (rows[:cut], rows[cut:])]
    assert values(shuffled, facts, date(2026, 3, 12)) == whole


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/St_Johns", "Asia/Kathmandu", "UTC"])
def test_local_hours_are_cut_in_the_business_zone(zone: str) -> None:
    # the days around the change to summer time in Newfoundland
    rows = [row(n % USERS, "view", at, zone=zone) for n, at in enumerate(moments(date(2026, 3, 6), 5, 9))]
    facts = [Fact.model_validate({"from": ["view"], "measure": "hour", "agg": "mode", "window": w}) for w in (None, 2)]
    found = values([table(rows)], facts, date(2026, 3, 9), zone=zone)
    assert differences(connect(table(rows)), found, facts, date(2026, 3, 9), zone=zone) == []
