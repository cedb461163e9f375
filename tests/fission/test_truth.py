"""A simulated shop through ingest, identity, activity and the step: against the truth, and against plain SQL.

Each agreement is printed with what chance would give.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta

import duckdb
import pytest

from jobs.activity.step import run_activity
from jobs.fission.step import run_fission
from jobs.identity.step import run_identity
from jobs.ingest.step import ingest
from lake.engine import Engine
from lake.sql import connect
from project import setup
from project.folder import Project
from schemas.behaviours import BEHAVIOURS as B
from simulator import shop as simulator

LAST = simulator.LAST_DAY
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> duckdb.DuckDBPyConnection:
    world = simulator.simulate(users=1_200, days=90, seed=11)
    folder = tmp_path_factory.mktemp("fission") / "project"
    setup.init(folder)
    project = Project.load(folder)
    simulator.write_arrivals(world, project.inbox)
    morning = datetime.combine(LAST + timedelta(days=1), time(6), project.zone_info)
    ingest(project, embedded, received_at=morning)
    run_identity(project, embedded, LAST, "made", None)
    run_activity(project, embedded, "made")
    run_fission(project, embedded, LAST, run_id="made")
    found = connect(project.lake, None)
    for name, table in world.truth.items():
        found.register(f"truth_{name}", table)
    found.execute(
        """
        create table who as
        with whose as (
            select i.uid, t.person_id from identity.identifiers i join truth_person_ids t using (id_kind, id_value)
            anti join truth_shared_ids s on s.id_kind = i.id_kind and s.id_value = i.id_value
            where i.until_day is null)
        select uid, person_id from whose group by uid, person_id
        qualify row_number() over (partition by uid order by count(*) desc, person_id) = 1
        """
    )
    found.execute(
        """
        create view rows_ as select a.* from activity.activity a
        where uid not in (select uid from identity.users where retired_day is not null)
        """
    )
    return found


def rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return con.execute(sql).fetchall()


def test_the_share_tree_is_the_true_one(con: duckdb.DuckDBPyConnection) -> None:
    found, true, parents, roots, depths = rows(
        con,
        """
        with mine as (
            select c.person_id, p.person_id as parent, r.person_id as root, e.level
            from fission.share_edges e left join who c using (uid)
            left join who p on p.uid = e.parent_uid left join who r on r.uid = e.root_uid)
        select (select count(*) from mine), count(*), count(*) filter (m.parent = t.parent_person_id),
               count(*) filter (m.root = t.root_person_id), count(*) filter (m.level = t.depth)
        from truth_invitations t left join mine m using (person_id)
        """,
    )[0]
    persons = rows(con, "select count(*) from truth_persons")[0][0]
    depth = rows(
        con, "select sum(n * n)::double / sum(n) ** 2 from (select count(*) n from truth_invitations group by depth)"
    )[0][0]
    print(
        f"share tree: {found} of {true} edges found; right parents {parents} (chance {1 / int(str(persons)):.4f}), "
        f"roots {roots}, depths {depths} (chance {depth:.3f})"
    )
    assert parents == roots == depths == found, "what is found is exact"
    assert int(str(found)) >= 0.98 * int(str(true))


def test_sharing_reaches_as_many_levels_as_in_truth(con: duckdb.DuckDBPyConnection) -> None:
    mine = dict(rows(con, "select level, count(*) from fission.share_edges group by all"))
    true = dict(rows(con, "select depth, count(*) from truth_invitations group by all"))
    print("breadth per level, found / true:", {k: (mine.get(k, 0), true[k]) for k in sorted(true)})
    assert all(abs(mine.get(k, 0) - true[k]) <= max(2, 0.03 * true[k]) for k in true)


def test_roles_agree_with_the_true_ones_far_better_than_chance(con: duckdb.DuckDBPyConnection) -> None:
    cells = rows(
        con,
        """
        select t.role, f.primary_role, count(*) from fission.roles f join who using (uid)
        join truth_roles t using (person_id) where connector_score is not null group by all
        """,
    )
    users = sum(n for *_, n in cells)
    agreed = sum(n for true, said, n in cells if true == said) / users
    chance = sum(
        sum(n for t, _, n in cells if t == role) * sum(n for _, s, n in cells if s == role)
        for role in ("none", "connector", "maven", "salesman")
    ) / (users**2)
    kappa = (agreed - chance) / (1 - chance)
    print(f"roles: agreement {agreed:.3f} of {users} sharers, chance {chance:.3f}, kappa {kappa:.3f}")
    for role in ("connector", "maven", "salesman"):
        said = sum(n for _, s, n in cells if s == role)
        true = sum(n for t, _, n in cells if t == role)
        both = sum(n for t, s, n in cells if t == s == role)
        print(f"  {role}: precision {both / said:.2f}, recall {both / true:.2f} (chance {true / users:.2f})")
        assert both / said > 3 * true / users
    assert kappa > 0.4


def test_edges_and_touches_are_those_of_plain_sql(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""
        create or replace temp table joined as
        with registered as (
            select i.uid, min(m.registered_at) as moment from silver.members m
            join identity.identifiers i on i.id_kind = 'member' and i.id_value = m.member_id group by i.uid
        ), ordered as (
            select o.uid, min(o.occurred_at) as moment from rows_ o
            where o.behaviour_code = {B["order"]} and o.order_key in
                (select order_key from rows_ where behaviour_code = {B["pay"]}) group by o.uid
        )
        select uid, coalesce(r.moment, o.moment) as moment from registered r full join ordered o using (uid)
        """
    )
    con.execute(
        f"""
        create or replace temp table opens as
        select o.uid, coalesce(u.merged_into_uid, o.peer_uid) as sharer, o.occurred_at as opened, j.moment as joined
        from rows_ o left join joined j using (uid) left join identity.users u on u.uid = o.peer_uid
        where o.behaviour_code = {B["share_open"]} or (o.behaviour_code = {B["join_group"]} and o.peer_uid >= 0)
        """
    )
    counted = rows(
        con,
        """
        select count(*) filter (sharer = uid), count(*) filter (sharer <> uid and joined is null),
               count(*) filter (sharer <> uid and opened >= joined + interval 1 second), count(*) from opens
        """,
    )[0]
    said = dict(
        rows(
            con,
            "select touch_outcome, sum(touches)::bigint from fission.touches "
            "where touch_kind in ('share_open', 'join_group') group by all",
        )
    )
    assert counted[:3] == (said["self_invite"], said["waiting"], said["late"])
    assert counted[3] == sum(said.values())
    first = set(
        rows(
            con,
            """
            select uid, sharer from opens where sharer >= 0 and sharer <> uid and opened < joined + interval 1 second
            qualify row_number() over (partition by uid order by opened, sharer) = 1
            """,
        )
    )
    edges = set(
        rows(con, "select uid, parent_uid from fission.share_edges where touch_kind in ('share_open', 'join_group')")
    )
    assert edges <= first
    assert len(first - edges) == said["cycle"] > 0
    reached = rows(con, "select count(distinct uid) from opens where sharer >= 0 and sharer <> uid")[0][0]
    roots, users = rows(con, "select count(*), sum(tree_users)::bigint from fission.reach_trees")[0]
    cut = int(str(users)) - int(str(roots))
    assert 0.99 * int(str(reached)) <= cut <= int(str(reached)), (
        "everybody reached has a parent, but where circles are cut"
    )


def test_reach_sales_and_down_lines_are_those_of_plain_sql(con: duckdb.DuckDBPyConnection) -> None:
    wrong = rows(
        con,
        f"""
        with elder as (select uid, coalesce(merged_into_uid, uid) as is_now from identity.users),
        reach as (
            select a.uid, count(distinct e.is_now) as n from rows_ a join elder e on e.uid = a.peer_uid
            where behaviour_code in ({B["share_opened"]}, {B["brought_join"]}) and e.is_now <> a.uid group by a.uid
        ), sold as (
            select a.uid, a.order_key, e.is_now as buyer from rows_ a join elder e on e.uid = a.peer_uid
            where behaviour_code = {B["brought_order"]} and void_day is null and e.is_now <> a.uid
        ), worth as (
            select order_key, sum(if(behaviour_code = {B["pay"]}, amount_minor, -amount_minor)) as net from rows_
            where behaviour_code in ({B["pay"]}, {B["refund_of_order"]}) and void_day is null
              and valid_from_day <= date '{LAST}' and day > date '{LAST}' - 365 group by order_key
        ), spend as (
            select uid, sum(if(behaviour_code = {B["pay"]}, amount_minor, -amount_minor)) as net from rows_
            where behaviour_code in ({B["pay"]}, {B["refund_of_order"]}) and void_day is null
              and valid_from_day <= date '{LAST}' and day > date '{LAST}' - 365 group by uid
        ), brought as (
            select s.uid, count(distinct s.buyer) as n, sum(w.net) as net
            from (select distinct on (order_key) * from sold order by order_key, uid) s
            left join worth w using (order_key) group by s.uid
        ), below as (
            select parent_uid as uid, uid as person from fission.share_edges
            union all
            select u.parent_uid, d.uid from fission.share_edges u join fission.share_edges d on d.parent_uid = u.uid
        ), down as (
            select b.uid, count(*) as n, sum(coalesce(s.net, 0)) as net
            from below b left join spend s on s.uid = b.person group by b.uid
        )
        select count(*) filter (r.share_breadth <> coalesce(reach.n, 0)),
               count(*) filter (r.share_conversions <> coalesce(brought.n, 0)),
               count(*) filter (r.is_seller and r.attributed_amount_minor <> coalesce(brought.net, 0)),
               count(*) filter (r.is_seller and r.downline_users <> coalesce(down.n, 0)),
               count(*) filter (r.is_seller and r.downline_amount_minor <> coalesce(down.net, 0)),
               count(*) filter (r.is_seller and r.downline_amount_minor > 0 and r.attributed_amount_minor > 0)
        from fission.roles r left join reach using (uid) left join brought using (uid) left join down using (uid)
        """,
    )[0]
    assert wrong[:5] == (0, 0, 0, 0, 0)
    assert int(str(wrong[5])) > 10


def test_days_of_sharing_add_up(con: duckdb.DuckDBPyConnection) -> None:
    daily = rows(con, "select cohort_day, active_users, sharers, accepted from fission.share_daily order by 1")
    credited = [n for name, n in B.items() if name.startswith("brought_")] + [B["share_opened"], B["refund_of_order"]]
    wanted = rows(
        con,
        f"""
        select day, count(distinct uid) filter (behaviour_code not in ({", ".join(map(str, credited))})),
               count(distinct uid) filter (behaviour_code = {B["share"]})
        from rows_ where day between date '{LAST}' - 89 and date '{LAST}' group by day order by day
        """,
    )
    assert [d[:3] for d in daily] == wanted
    edges = rows(con, "select count(*) from fission.share_edges where touch_kind in ('share_open', 'join_group')")[0][0]
    assert 0.95 * int(str(edges)) <= sum(int(str(d[3])) for d in daily) <= int(str(edges))
