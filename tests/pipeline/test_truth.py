"""The pipeline against the simulator's truth. Each test prints its agreement, and what chance would give."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from lake.sql import connect
from project.folder import Project
from schemas.behaviours import BEHAVIOURS
from tests.offers.agreement import SENSITIVITY, agreement
from tests.pipeline import shop

LAST = shop.LAST
pytestmark = pytest.mark.slow


@pytest.fixture
def con(three_days: Project) -> duckdb.DuckDBPyConnection:
    """The lake and the truth side by side, as ``truth_<table>``."""
    found = connect(three_days.lake, None)
    for name, table in shop.simulated().truth.items():
        found.register(f"truth_{name}", table)
    found.execute(
        """
        create table whose as
        select i.uid, t.person_id, t.id_kind, t.id_value, t.linked_from_day
        from identity.identifiers i join truth_person_ids t using (id_kind, id_value)
        anti join truth_shared_ids s on s.id_kind = i.id_kind and s.id_value = i.id_value
        where i.until_day is null
        """
    )
    # The person of a uid: whoever most of its ids belong to.
    found.execute(
        """
        create table who as select uid, person_id from whose group by uid, person_id
        qualify row_number() over (partition by uid order by count(*) desc, person_id) = 1
        """
    )
    return found


def one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    return tuple(con.execute(sql).fetchall()[0])


PAIRS = """
with cells as (select uid, person_id, count(*) n from whose where {which} group by all),
rows_ as (select sum(n) n from cells group by uid), columns_ as (select sum(n) n from cells group by person_id)
select (select sum(n * (n - 1)) from cells)::double, (select sum(n * (n - 1)) from rows_)::double,
       (select sum(n * (n - 1)) from columns_)::double, (select sum(n) from cells)::double
"""


def test_identity_finds_the_true_persons(con: duckdb.DuckDBPyConnection) -> None:
    """Pairs of ids: of those put together, how many are one person; of those seen beside a member, how many were."""
    together, said, _, n = one(con, PAIRS.format(which="true"))
    linked, _, true, _ = one(con, PAIRS.format(which="linked_from_day is not null"))
    precision, recall = together / said, linked / true
    print(f"identity: precision {precision:.4f}, recall {recall:.4f} (chance {true / (n * (n - 1)):.4f})")
    assert precision > 0.995
    assert recall > 0.97


def test_orders_belong_to_the_person_who_made_them(con: duckdb.DuckDBPyConnection) -> None:
    right, known, orders = one(
        con,
        """
        select count(*) filter (w.person_id = t.person_id), count(w.person_id), count(*)
        from truth_orders t
        anti join truth_guest_checkouts g on g.order_id = t.order_id
        join (select distinct order_id, member_id, cookie_id, device_id, openid from silver.orders) o using (order_id)
        left join whose w on w.id_kind = 'member' and w.id_value = o.member_id
        """,
    )
    print(f"orders: {right} of {known} orders with a member id are their person's ({orders} orders)")
    assert right == known > 0


def test_guests_are_never_merged(con: duckdb.DuckDBPyConnection) -> None:
    uids, orders = one(
        con,
        """
        select count(distinct uid), count(distinct order_id)
        from truth_guest_checkouts g join identity.identifiers i on i.id_kind = 'guest' and i.id_value = g.order_id
        where cookie_id is null
        """,
    )
    print(f"guests: {orders} check-outs without any id are {uids} persons")
    assert uids == orders > 0


def test_registrations_through_a_share_point_at_the_true_inviter(con: duckdb.DuckDBPyConnection) -> None:
    right, found, invited = one(
        con,
        f"""
        with registered as (
            select c.person_id, p.person_id as parent from activity.activity a
            join who c on c.uid = a.uid left join who p on p.uid = a.peer_uid
            where behaviour_code = {BEHAVIOURS["register"]} and a.peer_uid >= 0)
        select count(*) filter (r.parent = t.parent_person_id), count(r.person_id), count(*)
        from truth_invitations t left join registered r using (person_id)
        """,
    )
    persons = one(con, "select count(*) from truth_persons")[0]
    print(f"share tree: {right} of {found} inviters are right, {found} of {invited} found (chance {1 / persons:.4f})")
    assert right >= 0.97 * found
    assert found >= 0.5 * invited


def test_what_was_delivered_twice_or_broken_is_counted_exactly(con: duckdb.DuckDBPyConnection) -> None:
    found = con.execute(
        """
        select feed, sum(rows_duplicate)::int, sum(rows_quarantined)::int from landing.manifest
        where state = 'taken' group by feed order by feed
        """
    ).fetchall()
    true = con.execute(
        """
        select feed, coalesce(d.n, 0), coalesce(b.n, 0)
        from (select distinct feed from landing.manifest) f
        left join (select feed, count(*)::int n from truth_duplicates group by 1) d using (feed)
        left join (select feed, count(*)::int n from truth_bad_rows group by 1) b using (feed) order by feed
        """
    ).fetchall()
    print("feed, duplicates, quarantined:", found)
    assert found == true


def test_the_lifecycle_agrees_with_the_true_phase_far_better_than_chance(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.execute(
        f"""
        with true_stage as (
            select person_id, stage from truth_lifecycle where from_day <= '{LAST}'
            qualify row_number() over (partition by person_id order by from_day desc) = 1)
        select t.stage, s.segment, count(*) from segments.segments s
        join who using (uid) join true_stage t using (person_id)
        where s.as_of = '{LAST}' and s.scheme = 'lifecycle' and s.is_member group by all
        """
    ).fetchall()
    users = sum(n for _, _, n in rows)
    agreed = sum(n for true, said, n in rows if true == said) / users
    truths: dict[str, int] = {}
    sayings: dict[str, int] = {}
    for true, said, n in rows:
        truths[true] = truths.get(true, 0) + n
        sayings[said] = sayings.get(said, 0) + n
    chance = sum(truths.get(k, 0) * sayings.get(k, 0) for k in truths) / users**2
    print(f"lifecycle: agreement {agreed:.3f} of {users} members, chance {chance:.3f}")
    assert (agreed - chance) / (1 - chance) > 0.5


def test_promotion_scores_follow_the_true_price_sensitivity(con: duckdb.DuckDBPyConnection) -> None:
    """Few users of a shop of 60 days have three orders to compare."""
    found = agreement(con.execute(SENSITIVITY, [LAST]).fetchall())
    print(found)
    assert found.users > 20
    assert found.concordant > 0.65
    assert found.agreed > found.chance
