"""The step on shops made by hand: what counts, who is whose parent, what the tables say."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.fission.settings import FissionSettings
from jobs.insights.fission import insight
from jobs.insights.step import InsightRun
from lake.engine import Engine
from lake.lake import Lake
from tests import shipped
from tests.fission import networks
from tests.fission.lake_shop import AS_OF, Here, ShareShop
from tests.silver import at as stamp

FAR = 100_007
"""A user of the second bucket."""


@pytest.fixture
def shop(lake: Lake) -> ShareShop:
    return ShareShop(lake)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> ShareShop:
    """``family``, run once for the tests that only read it."""
    found = ShareShop(Lake(tmp_path_factory.mktemp("family") / "lake", "Asia/Shanghai"))
    family(found)
    assert found.run() == 4
    return found


def family(shop: ShareShop) -> None:
    """1 brings 2 and FAR, FAR brings 3 on a later day; 2 opens late and its own; 4 opens and never joins."""
    shop.member(1, "2026-01-01 09:00", level=2)
    shop.share(1, "2026-03-02 10:00", sku=5)
    shop.open(2, 1, "2026-03-02 12:00", sku=5)
    shop.register(2, "2026-03-02 16:00", sharer=1)
    shop.open(FAR, 1, "2026-03-03 12:00", sku=5)
    shop.open(FAR, 2, "2026-03-03 13:00")
    shop.buy(FAR, "2026-03-04 10:00", 9_900, key=71, through=1)
    shop.share(FAR, "2026-03-05 10:00", sku=6)
    shop.open(3, FAR, "2026-03-05 11:00", sku=6)
    shop.member(3, "2026-03-05 22:00")
    shop.buy(3, "2026-03-06 10:00", 5_000, key=72)
    shop.open(2, FAR, "2026-03-06 11:00", sku=6)
    shop.open(2, 2, "2026-03-06 11:00")
    shop.open(4, 1, "2026-03-06 12:00")


def test_the_first_valid_touch_makes_the_parent(families: ShareShop) -> None:
    shop = families
    assert shop.edges() == {2: (1, 1, 1), FAR: (1, 1, 1), 3: (FAR, 1, 2)}
    assert shop.outcomes() == {"first": 3, "repeated": 2, "late": 1, "self_invite": 1, "waiting": 1}
    assert shop.touches()["register", "repeated"] == 1, "2 had opened before"
    (tree,) = shop.rows("share_trees")
    assert (tree["root_uid"], tree["tree_users"], tree["tree_depth"], tree["largest_hub_users"]) == (1, 4, 2, 2)
    assert tree["extra_edges"] == 1, "2 opened what FAR shared, twice and in both directions it is one edge"
    assert tree["tree_conversions"] == 2
    # six pairs at distances 1 1 1 2 2 3
    assert tree["structural_virality"] == pytest.approx(10 / 6, abs=1e-6)


def test_a_users_place_reach_and_down_line_stand_in_roles(families: ShareShop) -> None:
    shop = families
    root = shop.role(1)
    assert (root["share_level"], root["share_children"], root["share_descendants"], root["share_depth"]) == (0, 2, 3, 2)
    assert (root["share_breadth"], root["share_conversions"]) == (3, 1)
    assert (root["is_seller"], root["downline_users"], root["downline_amount_minor"]) == (True, 3, 14_900)
    assert root["attributed_amount_minor"] == 9_900
    assert root["fission_kind"] == "none"
    far = shop.role(FAR)
    assert (far["share_level"], far["share_breadth"], far["fission_kind"]) == (1, 2, "distribution")
    assert (far["is_seller"], far["downline_users"], far["turned_self_buyer"]) == (False, None, None)
    assert shop.role(3)["fission_kind"] == "membership"
    assert {r["uid"] for r in shop.rows("roles")} == {1, 2, 3, FAR}


def test_the_insight_says_levels_kinds_speed_and_what_was_dropped(families: ShareShop) -> None:
    project = SimpleNamespace(lake=families.lake, catalogue=shipped.catalogue())
    found = insight(InsightRun(project, Here(), AS_OF, "insight"))  # type: ignore[arg-type]
    figures = {(f["figure"], f.get("item", "")): f["number"] for f in found.figures}
    assert [figures["users_at_level", str(level)] for level in (0, 1, 2)] == [1, 2, 1]
    assert figures["share_levels_1_3", ""] == 1
    ended = {"first": 3, "repeated": 2, "late": 1, "self_invite": 1, "waiting": 1, "no_sharer": 0, "cycle": 0}
    assert {item: n for (figure, item), n in figures.items() if figure == "touches"} == ended
    assert (figures["users_by_kind", "distribution"], figures["users_by_kind", "membership"]) == (2, 1)
    assert figures["users_by_role", "none"] == 4
    assert figures["trees_by_structure", "none"] == 1
    assert (figures["seed_users", ""], figures["turned_self_buyer", ""], figures["distributors", "0"]) == (0, 0, 1)
    assert figures["k_factor", ""] == pytest.approx(3 / 5)
    assert figures["cycle_hours", ""] == pytest.approx((27 + 12) / 2)
    curve = {(c.get("series", ""), c["x"]): c["y"] for c in found.curves if c["curve"] == "growth_by_level"}
    assert curve == {("", 0): 1, ("", 1): 2, ("", 2): 1, ("distribution", 1): 2, ("membership", 2): 1}


def test_one_paid_level_counts_children_alone(shop: ShareShop) -> None:
    family(shop)
    shop.run(settings=FissionSettings(paid_levels=1))
    assert (shop.role(1)["downline_users"], shop.role(1)["downline_amount_minor"]) == (2, 9_900)


def test_invites_and_acceptances_belong_to_the_day_of_the_share(families: ShareShop) -> None:
    shop = families
    daily = {r["cohort_day"]: r for r in shop.rows("share_daily")}
    first = daily[date(2026, 3, 2)]
    assert (first["active_users"], first["sharers"], first["invites"], first["accepted"]) == (2, 1, 2, 2)
    assert first["k_factor"] == 1
    # 6 hours and 48 hours after 10:00 of the day
    assert first["cycle_hours"] == pytest.approx(27)
    third = daily[date(2026, 3, 5)]
    assert (third["sharers"], third["invites"], third["accepted"], third["cycle_hours"]) == (1, 2, 1, 12)
    assert daily[AS_OF]["active_users_30d"] == 5
    assert daily[date(2026, 3, 7)]["k_factor"] is None, "nobody was active"
    assert sum(r["accepted"] for r in daily.values()) == 3


def test_a_cycle_is_cut_at_its_latest_edge(shop: ShareShop) -> None:
    for person, sharer, at in ((1, 2, "2026-03-01 10:00"), (2, 3, "2026-03-01 12:00"), (3, 1, "2026-03-01 11:00")):
        shop.open(person, sharer, at)
        shop.register(person, "2026-03-02 10:00")
    shop.run()
    assert shop.edges() == {3: (1, 2, 2), 1: (2, 2, 1)}
    assert shop.touches() == {("share_open", "first"): 2, ("share_open", "cycle"): 1}


def test_without_an_opened_share_the_registration_then_the_record_tells_the_inviter(shop: ShareShop) -> None:
    shop.member(1, "2025-01-01 10:00")
    shop.register(2, "2026-03-01 10:00", sharer=1)
    shop.member(3, "2026-03-02 10:00", inviter=1)
    shop.open(4, 2, "2026-03-02 10:00")
    shop.member(4, "2026-03-03 10:00", inviter=1)
    shop.run()
    assert {c: p for c, (p, _, _) in shop.edges().items()} == {2: 1, 3: 1, 4: 2}
    assert shop.touches() == {
        ("share_open", "first"): 1,
        ("register", "first"): 1,
        ("inviter", "first"): 1,
        ("inviter", "repeated"): 1,
    }
    shop.run(settings=FissionSettings(without_touch=()))
    assert set(shop.edges()) == {4}


def test_an_inviter_who_is_no_user_ends_as_no_sharer(shop: ShareShop) -> None:
    shop.member(1, "2026-03-01 10:00", inviter=9)
    shop.member(2, "2026-03-02 10:00")
    shop.run()
    assert 9 not in shop.users
    assert shop.touches() == {("inviter", "no_sharer"): 1}
    assert shop.edges() == {}


def test_retired_people_live_on_in_their_elders(shop: ShareShop) -> None:
    shop.open(2, 8, "2026-03-01 10:00")
    shop.open(1, 9, "2026-03-01 10:00")
    shop.open(3, 7, "2026-03-01 10:00")
    for person in (1, 2, 3, 8):
        shop.register(person, "2026-03-02 10:00")
    shop.retire(9, 8)
    shop.retire(8, 1)
    shop.retire(7, None)
    # the rows of 8 and 9 were appended to those of 1
    shop._add(1, "share_opened", "2026-03-01 10:00", peer_uid=2)
    shop._add(1, "share_opened", "2026-03-01 10:00", peer_uid=1)
    shop.run()
    assert shop.edges() == {2: (1, 1, 1)}
    assert shop.outcomes() == {"first": 1, "self_invite": 1, "no_sharer": 1}
    assert shop.role(1)["share_breadth"] == 1
    assert {r["uid"] for r in shop.rows("roles")} == {1, 2}


def test_what_happened_or_was_learned_later_does_not_count(shop: ShareShop) -> None:
    family(shop)
    shop.open(6, 1, "2026-03-06 10:00", known_day="2026-03-20")
    shop.register(6, "2026-03-07 10:00")
    shop.buy(3, "2026-03-07 10:00", 500, key=9, through=1, void_day="2026-03-08", void_known_day="2026-03-13")
    shop.run(as_of=date(2026, 3, 5))
    assert shop.edges() == {2: (1, 1, 1), FAR: (1, 1, 1), 3: (FAR, 1, 2)}
    shop.run(as_of=date(2026, 3, 3))
    on_the_third = shop.sql("select uid from fission.share_edges where as_of = '2026-03-03'")
    assert on_the_third == [(2,)], "FAR has not ordered yet"
    sold = "select attributed_amount_minor from fission.roles where as_of = '2026-03-10' and uid = 1"
    shop.run(as_of=date(2026, 3, 10))
    [(amount,)] = shop.sql(sold)
    shop.run(as_of=date(2026, 3, 10), known_at=stamp("2026-03-12 06:00"))
    assert shop.sql(sold) == [(amount + 500,)], "the refund is not known yet"
    known = shop.sql("select uid from fission.share_edges where as_of = '2026-03-10' order by uid")
    assert (6,) not in known
    assert (FAR,) in known


def test_flagged_and_refunded_orders_bring_no_sales_and_flagged_ones_no_buyer(shop: ShareShop) -> None:
    for person, more in ((2, {"flagged_day": "2026-03-09"}), (3, {"void_day": "2026-03-08"}), (4, {})):
        shop.open(person, 1, "2026-03-01 10:00")
        shop.buy(person, "2026-03-02 10:00", 1_000, key=person, through=1, **more)
    shop.refund(4, "2026-03-02 10:00", 300, key=4, on="2026-03-05")
    shop.run()
    assert set(shop.edges()) == {3, 4}, "whoever bought joined, though the money went back"
    root = shop.role(1)
    assert (root["share_conversions"], root["attributed_amount_minor"], root["downline_amount_minor"]) == (1, 700, 700)


def test_a_seller_who_only_buys_for_ninety_days_has_turned_self_buyer(shop: ShareShop) -> None:
    shop.buy(2, "2025-12-31 10:00", 1_000, key=1, through=1)
    shop.buy(1, "2026-03-01 10:00", 1_000, key=2)
    shop.buy(4, "2026-01-01 10:00", 1_000, key=3, through=3)
    shop.buy(3, "2026-03-01 10:00", 1_000, key=4)
    shop.run()
    assert shop.role(1)["turned_self_buyer"] is True
    assert shop.role(3)["turned_self_buyer"] is False


def test_joining_the_sharers_group_is_fission_by_activity(shop: ShareShop) -> None:
    for person, group_of, at in ((2, 1, "2026-03-05 10:00"), (3, 1, "2026-03-20 10:00"), (4, 2, "2026-03-05 10:00")):
        shop.open(person, 1, "2026-03-01 10:00")
        shop.register(person, "2026-03-02 10:00")
        shop.join_group(person, group_of, at)
    shop.run()
    kinds = {r["uid"]: r["fission_kind"] for r in shop.rows("share_edges")}
    assert kinds == {2: "activity", 3: "membership", 4: "membership"}
    assert shop.touches() == {("share_open", "first"): 3, ("join_group", "late"): 3}


def test_joining_a_group_through_a_sharer_is_a_touch_and_reach(shop: ShareShop) -> None:
    for person in (2, 3):
        shop.join_group(person, 1, "2026-03-01 10:00")
    for person in (1, 2, 3):
        shop.buy(person, "2026-03-01 10:05", 1_000, key=person)
    shop.open(4, 1, "2026-03-01 10:00")
    shop.join_group(5, -1, "2026-03-01 10:00")
    shop.join_group(1, 1, "2026-03-01 10:00")
    shop.run()
    assert shop.edges() == {2: (1, 1, 1), 3: (1, 1, 1)}
    assert {r["touch_kind"] for r in shop.rows("share_edges")} == {"join_group"}
    assert shop.touches() == {
        ("join_group", "first"): 2,
        ("join_group", "self_invite"): 1,
        ("share_open", "waiting"): 1,
    }
    assert shop.role(1)["share_breadth"] == 3
    daily = {r["cohort_day"]: r for r in shop.rows("share_daily")}
    assert (daily[date(2026, 3, 1)]["invites"], daily[date(2026, 3, 1)]["accepted"]) == (3, 2)


@pytest.mark.parametrize(
    ("registered", "at", "outcome"),
    [
        ("2026-03-01 10:00:00", "2026-03-01 10:00:00", "first"),
        ("2026-03-01 10:00:00", "2026-03-01 10:00:01", "late"),
        ("2026-03-01 00:00:00", "2026-03-01 23:59:59", "first"),
        ("2026-03-01 00:00:00", "2026-03-02 00:00:00", "late"),
        ("2026-03-01 00:00:01", "2026-03-01 23:59:59", "late"),
    ],
)
def test_only_what_is_provably_after_the_registration_is_late(
    shop: ShareShop, registered: str, at: str, outcome: str
) -> None:
    shop.share(1, "2026-02-28 10:00")
    shop.open(2, 1, at)
    shop.member(2, registered)
    shop.run()
    assert shop.touches() == {("share_open", outcome): 1}
    assert len(shop.edges()) == (outcome == "first")
    assert {r["cycle_hours"] for r in shop.rows("share_daily")} <= {None, 24, 14}


def test_openers_who_never_join_stand_in_the_reach_tree(shop: ShareShop) -> None:
    shop.open(2, 1, "2026-03-01 10:00", sku=5)
    shop.open(2, FAR, "2026-03-01 09:00", sku=6)
    shop.open(3, 2, "2026-03-02 10:00", sku=5)
    shop.open(4, 2, "2026-03-02 10:00")
    shop.open(3, 3, "2026-03-01 10:00", sku=5)
    shop.open(5, -1, "2026-03-01 10:00")
    shop.register(4, "2026-03-03 10:00")
    shop.buy(3, "2026-03-04 10:00", 100, key=1)
    shop.run()
    assert shop.edges() == {3: (2, 2, 1), 4: (2, 2, 1)}
    assert shop.touches() == {
        ("share_open", "first"): 2,
        ("share_open", "waiting"): 2,
        ("share_open", "self_invite"): 1,
        ("share_open", "no_sharer"): 1,
    }
    (tree,) = shop.rows("reach_trees")
    assert (tree["root_uid"], tree["tree_users"], tree["tree_depth"], tree["largest_hub_users"]) == (FAR, 4, 2, 2)
    assert (tree["tree_joined"], tree["tree_conversions"]) == (2, 1)
    assert tree["structural_virality"] == 1.5, "FAR - 2 - 3 and 4: distances 1 1 1 2 2 2"
    cards = {(r["root_uid"], r["sku_code"]): (r["tree_users"], r["tree_depth"]) for r in shop.rows("card_trees")}
    assert cards == {(1, 5): (3, 2), (FAR, 6): (2, 1)}, "what names no product is no card"


PEOPLE, DAYS = st.integers(1, 5), st.integers(1, 9)
TOUCH = st.tuples(
    st.sampled_from(["share_open", "join_group", "register"]), PEOPLE, st.integers(-1, 5), DAYS, st.integers(0, 2)
)


@pytest.mark.slow
@settings(max_examples=40)
@given(touches=st.lists(TOUCH, max_size=14), records=st.dictionaries(PEOPLE, st.tuples(DAYS, st.none() | PEOPLE)))
def test_every_touch_ends_in_exactly_one_counted_reason_and_reach_trees_are_those_of_networkx(
    tmp_path_factory: pytest.TempPathFactory,
    touches: list[tuple[str, int, int, int, int]],
    records: dict[int, tuple[int, int | None]],
) -> None:
    shop = ShareShop(Lake(tmp_path_factory.mktemp("touches") / "lake", "Asia/Shanghai"))
    for kind, person, sharer, day, sku in touches:
        at = f"2026-03-0{day} 10:00"
        if kind == "share_open":
            shop.open(person, sharer, at, sku=sku)
        elif kind == "join_group":
            shop.join_group(person, sharer, at)
        else:
            shop.register(person, at, sharer)
    for uid, (day, inviter) in records.items():
        shop.member(uid, f"2026-03-0{day} 12:00", inviter=inviter)
    shop.view(6, "2026-03-01 10:00")
    shop.run()

    named = Counter(kind for kind, _, sharer, _, _ in touches if kind == "share_open" or sharer >= 0)
    named["inviter"] = sum(inviter is not None for _, inviter in records.values())
    counted: Counter[str] = Counter()
    for (kind, _), n in shop.touches().items():
        counted[kind] += n
    assert counted == +named
    assert len(shop.edges()) == shop.outcomes().get("first", 0)

    reaching = [
        (p, s, day, sku if kind == "share_open" else 0)
        for kind, p, s, day, sku in touches
        if kind != "register" and s not in (-1, p)
    ]
    found = {(r["root_uid"], 0): _shape(r) for r in shop.rows("reach_trees")}
    assert found == _reach_trees([(p, s, day, 0) for p, s, day, _ in reaching])
    cards = {(r["root_uid"], r["sku_code"]): _shape(r) for r in shop.rows("card_trees")}
    assert cards == _reach_trees([t for t in reaching if t[3]])


def _shape(row: dict[str, Any]) -> tuple[int, int, float]:
    return row["tree_users"], row["tree_depth"], row["structural_virality"]


def _reach_trees(touches: list[tuple[int, int, int, int]]) -> dict[tuple[int, int], tuple[int, int, float]]:
    """By root and card, of touches (who, whose share, day, card): people, levels, mean distance."""
    found = {}
    for card in {t[3] for t in touches}:
        parent, at = [-1] * 6, [0] * 6
        for person in range(6):
            if own := [(day, sharer) for p, sharer, day, c in touches if p == person and c == card]:
                at[person], parent[person] = min(own)
        parent = networks.without_cycles(parent, at)
        facts = networks.facts(parent)
        for root in range(6):
            if parent[root] < 0 and facts["size"][root] > 1:
                distance = round(networks.mean_distance(parent, root), 6)
                found[root, card] = (facts["size"][root], facts["depth"][root], distance)
    return found


def test_a_shop_where_nobody_shares_has_empty_tables(shop: ShareShop) -> None:
    shop.view(1, "2026-03-01 10:00")
    assert shop.run() == 0
    assert [len(shop.rows(t)) for t in ("share_edges", "share_trees", "roles")] == [0, 0, 0]
    assert shop.touches() == {}
    daily = shop.rows("share_daily")
    assert (daily[0]["cohort_day"], daily[0]["k_factor"]) == (date(2026, 3, 1), 0)


@pytest.mark.slow
def test_a_lake_without_activity_is_fine(shop: ShareShop) -> None:
    shop.users[1] = None
    assert shop.run() == 0


@pytest.mark.slow
def test_running_a_day_again_changes_nothing_and_old_days_leave_but_month_ends_stay(shop: ShareShop) -> None:
    family(shop)
    shop.run()
    before = {t: shop.rows(t) for t in ("share_edges", "share_trees", "share_daily", "touches", "roles")}
    shop.run()
    assert {t: shop.rows(t) for t in before} == before
    for days in (1, 2, 3):
        shop.run(as_of=AS_OF + timedelta(days=days), keep_days=2)
    for table in before:
        days_there = shop.sql(f"select distinct as_of from fission.{table} order by 1")
        assert [d for (d,) in days_there] == [AS_OF, date(2026, 4, 2), date(2026, 4, 3)], table


@pytest.mark.slow
def test_the_order_and_the_files_of_rows_do_not_matter(tmp_path: Path) -> None:
    found = []
    for turn in (1, -1):
        shop = ShareShop(Lake(tmp_path / f"lake{turn}", "Asia/Shanghai"))
        family(shop)
        shop.activity = shop.activity[::turn]
        shop.run()
        found.append([shop.rows(t) for t in ("share_edges", "share_trees", "share_daily", "touches", "roles")])
    assert found[0] == found[1]


@pytest.mark.spark
def test_spark_writes_the_same_tables(shop: ShareShop, spark: Engine) -> None:
    family(shop)
    shop.run()
    tables = ("share_edges", "share_trees", "reach_trees", "card_trees", "share_daily", "touches", "roles")
    before = [shop.rows(t) for t in tables]
    shop.run(spark)
    assert [shop.rows(t) for t in tables] == before
