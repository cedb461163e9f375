"""A random shop as a lake that has activity already: what step ``offers`` reads, and an independent way to its result."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from features.kernel.rows import USERS_PER_BUCKET
from lake.lake import Lake, partition_path
from lake.publish import publish
from lake.sql import connect
from project.folder import Project
from schemas.arrow import arrow_schema, file_schema
from schemas.behaviours import BEHAVIOURS
from schemas.contracts import contract
from tests.silver import at, write_silver

LAST = date(2026, 3, 31)
Row = Mapping[str, Any]


def put(lake: Lake, table: str, rows: Sequence[Row]) -> None:
    """Append rows to a table; columns that they leave out are null."""
    staged_rows(lake, table, pa.Table.from_pylist(list(rows), arrow_schema(contract(table))))


def staged_rows(lake: Lake, table: str, rows: pa.Table, schema: pa.Schema | None = None) -> None:
    """The same from a table of columns, sorted as the contract says, a file per partition. ``schema`` of an open table."""
    c = contract(table)
    lake.ensure(table)
    run_id = uuid.uuid4().hex[:8]
    folder = lake.stage(table, run_id)
    schema = schema or arrow_schema(c)
    columns = [rows[f.name] if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema]
    whole = pa.table(columns, names=schema.names).cast(schema)
    ordered = whole.sort_by([(name, "ascending") for name in c.sort]) if c.sort else whole
    for values in ordered.select(list(c.partitions)).group_by(list(c.partitions)).aggregate([]).to_pylist() or [{}]:
        chosen = pa.array([True] * len(ordered))
        for name, value in values.items():
            chosen = pc.and_(chosen, pc.equal(ordered[name], value))
        target = folder / partition_path(values)
        target.mkdir(parents=True, exist_ok=True)
        part = ordered.filter(chosen).select(file_schema(schema, c.partitions).names)
        pq.write_table(part, target / "rows.parquet")
    publish(lake, table, folder, replace=None, read_version=None, run_id=run_id, key=run_id)


@dataclass(frozen=True)
class Line:
    """One line of a paid order. Money in minor units; ``known`` is when the shop learned of it."""

    uid: int
    day: date
    order: int
    sku: int
    list_minor: int = 100
    paid_minor: int = 100
    promoted: bool = False
    void: date | None = None
    flagged: date | None = None
    known: date | None = None
    void_known: date | None = None

    def row(self) -> Row:
        return {
            "bucket": self.uid // USERS_PER_BUCKET,
            "period": self.day.year * 100 + self.day.month,
            "uid": self.uid,
            "occurred_at": at(f"{self.day} 12:00"),
            "day": self.day,
            "behaviour_code": BEHAVIOURS["pay"],
            "sku_code": self.sku,
            "seller_code": 0,
            "channel_code": 0,
            "order_key": self.order,
            "quantity": 1,
            "list_amount_minor": self.list_minor,
            "amount_minor": self.paid_minor,
            "on_promotion": self.promoted,
            "detail_code": 0,
            "peer_uid": -1,
            "valid_from_day": self.day,
            "void_day": self.void,
            "void_known_day": self.void and (self.void_known or self.void),
            "flagged_day": self.flagged,
            "known_day": self.known or self.day,
        }


def project_of(folder: Path, lines: Sequence[Line], retired: Sequence[int] = (), **methods: Row) -> Project:
    """A project whose lake holds these lines. Skus are numbered from 1; sku n is of category ``c{n % 8}``, 8 of none."""
    folder.mkdir(parents=True)
    (folder / "huaxiang.yaml").write_text("currency: CNY\n", encoding="utf-8")
    (folder / "methods").mkdir()
    for name, settings in methods.items():
        (folder / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    project = Project.load(folder)
    skus = sorted({line.sku for line in lines} | {1})
    put(
        project.lake,
        "activity.codes",
        [{"code_kind": "sku", "code": n, "code_value": f"s{n}"} for n in skus],
    )
    known = {"source_time": at("2025-01-01 00:00")}
    products = [
        {"sku_id": f"s{n}", "category": f"c{n % 8}" if n % 8 else None, "brand": "b", "category_parent": "p"} | known
        for n in skus
    ]
    # what a product becomes later is not what it was on the day
    later = [{"sku_id": "s1", "category": "moved", "source_time": at("2026-04-02 00:00")}]
    write_silver(project.lake, "products", [*products, *later], ingested="2026-04-03 06:00")
    users = sorted({line.uid for line in lines} | set(retired))
    put(project.lake, "identity.users", [_user(uid, uid in retired) for uid in users])
    put(project.lake, "activity.activity", [line.row() for line in lines])
    return project


def _user(uid: int, is_retired: bool) -> Row:
    return {
        "bucket": uid // USERS_PER_BUCKET,
        "uid": uid,
        "user_id": f"u{uid}",
        "person_kind": "member",
        "first_seen_at": datetime.fromisoformat("2024-01-01T00:00:00+00:00"),
        "retired_day": date(2026, 1, 1) if is_retired else None,
        "merged_into": 0 if is_retired else None,
    }


def random_lines(seed: int = 4, orders: int = 1_500, users: int = 60) -> tuple[list[Line], list[int]]:
    """Lines in two buckets with cancelled, flagged, late and too old ones; and a retired uid, whose lines an elder has."""
    draw = random.Random(seed)
    lines = []
    for order in range(1, orders + 1):
        uid = draw.randrange(users) + draw.choice([0, USERS_PER_BUCKET])
        day = LAST - timedelta(days=int(draw.expovariate(0.02)) - 3)
        void = day + timedelta(days=draw.randint(0, 40)) if draw.random() < 0.1 else None
        flagged = day + timedelta(days=draw.randint(0, 40)) if draw.random() < 0.05 else None
        known = day + timedelta(days=draw.choice([0, 0, 1, 30]))
        tastes = random.Random(uid).sample(range(1, 33), 12)
        for _ in range(draw.randint(1, 3)):
            price = draw.choice([990, 10_000, 123_400])
            off = draw.choice([0, 0, price // 7, price // 2])
            line = Line(uid, day, order, draw.choice(tastes), price, price - off, off > 0, void, flagged, known)
            lines.append(replace(line, void_known=void and max(void, known) + timedelta(days=order % 3 * 4)))
    gone = 7
    return [*lines, *(replace(line, uid=3) for line in lines if line.uid == gone)], [gone]


ORACLE = """
create table lines as
select a.uid, a.day, a.order_key, p.category, on_promotion, list_amount_minor as whole, amount_minor as paid
from activity.activity a join identity.users u on u.uid = a.uid and u.retired_day is null
left join activity.codes c on c.code_kind = 'sku' and c.code = a.sku_code
left join (
    select * from silver.products where source_time <= timestamptz '2026-03-31 23:59:59+08'
    qualify row_number() over (partition by sku_id order by source_time desc) = 1) p on p.sku_id = c.code_value
where behaviour_code = {pay} and a.day <= date '{day}' and valid_from_day <= date '{day}'
  and (coalesce(void_day > date '{day}', true) or coalesce(void_known_day > {known}, false))
  and coalesce(flagged_day > date '{day}', true)
  and coalesce(known_day <= {known}, true);

create table parts as
select uid, day, order_key, category, max(on_promotion::int) as promoted, sum(whole) as whole, sum(whole - paid) as off
from lines where day > date '{day}' - {promotion} group by all;

create table terms as
with shown as (
    select *, count(*) over cell - count(*) over own as n, sum(promoted) over cell - sum(promoted) over own as p,
           count(*) filter (off > 0) over cell - count(*) filter (off > 0) over own as discounted,
           sum(off / whole) over cell - sum(off / whole) over own as depth,
           sum(whole) over cell - sum(whole) over own as others_whole,
           sum(off) over cell - sum(off) over own as others_off
    from parts window cell as (partition by category, day), own as (partition by category, day, uid))
select uid, count(distinct order_key) filter (n > 0) as orders,
       sum(promoted) filter (n > 0) / nullif(sum(p / n) filter (n > 0), 0) as order_ratio,
       sum(off / whole) filter (off > 0 and discounted > 0)
           / nullif(sum(depth / discounted) filter (off > 0 and discounted > 0), 0) as depth_ratio,
       sum(off) filter (others_whole > 0)
           / nullif(sum(whole * others_off / others_whole) filter (others_whole > 0), 0) as amount_ratio
from shown group by uid;

create table bought as
select distinct uid, category as item from lines where category is not null and day > date '{day}' - {basket};

create table rules as
with n as (select item, count(*) as n from bought group by 1),
joint as (select a.item as l, b.item as r, count(*) as j from bought a join bought b using (uid)
          where a.item <> b.item group by all having j >= {joint}),
everybody as (select count(distinct uid) as baskets from bought)
select l, r, baskets, nl.n as ln, nr.n as rn, j, j / baskets as support, j / nl.n as confidence,
       j / nl.n * baskets / nr.n as lift
from joint join n nl on nl.item = l join n nr on nr.item = r cross join everybody;

create table next_one as
select uid, r from rules join bought on item = l anti join bought b on b.uid = bought.uid and b.item = r
where lift > 1 qualify row_number() over (partition by bought.uid order by confidence * lift desc, l, r) = 1;
"""


def by_sql(
    lake: Lake, day: date, *, promotion: int = 365, basket: int = 180, joint: int = 30, known: date | None = None
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Rows of ``profile.offers`` and of ``segments.associations`` in the columns of the step's own, by window functions."""
    with connect(lake, None) as con:
        con.execute(
            ORACLE.format(
                pay=BEHAVIOURS["pay"],
                day=day,
                promotion=promotion,
                basket=basket,
                joint=joint,
                known=f"date '{known}'" if known else "null",
            )
        )
        offers = con.execute(
            f"""
            select w.uid, coalesce(orders, 0), order_ratio, depth_ratio, amount_ratio, r
            from (select distinct uid from lines where day > date '{day}' - {max(promotion, basket)}) w
            left join terms using (uid) left join next_one n on n.uid = w.uid order by w.uid
            """
        ).fetchall()
        return offers, con.execute("select * from rules order by l, r").fetchall()
