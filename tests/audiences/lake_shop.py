"""A hand-made shop in a real lake: a few people, their behaviour, products, member records, released day by day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake import journal
from lake.lake import Lake, partition_path
from lake.publish import publish
from lake.releases import Release, write_release
from project.folder import Project
from schemas.arrow import file_schema
from schemas.behaviours import BEHAVIOURS
from schemas.contracts import contract

TAGS = """\
defaults:
  owner: crm
  refresh: daily
  version: 1
  kind: dynamic
  method: fact
  sources: [members]
  empty: unknown
tags:
  - id: register_city
    name: {zh: 注册城市, en: Registration city}
    description: {zh: 城市, en: City}
    path: [基本信息, 人口信息, 城市]
    type: string
    values: {from: members.city}
    attribute: city
  - id: gender
    name: {zh: 性别, en: Gender}
    description: {zh: 性别, en: Gender}
    path: [基本信息, 人口信息, 性别]
    type: string
    values: [female, male, unknown]
    labels: {female: {zh: 女, en: Female}}
    attribute: gender
  - id: paid_amount_90d
    name: {zh: 近90天消费, en: Paid in 90 days}
    description: {zh: 消费, en: Money}
    path: [消费特征, 消费能力和频次, 金额]
    type: int64
    unit: minor
    values: {min: 0}
    window: 90
    empty: 0
    fact: {from: [pay], measure: amount, agg: sum, window: 90}
"""

BEIJING = """\
name: {zh: 北京高频浏览未购资生堂, en: Beijing regulars who did not buy Shiseido}
description: {zh: 素材原文人群, en: The audience of the source material}
owner: crm
include:
  all:
    - {tag: register_city, is: 北京}
    - {event: browse, measure: visits, within_days: 90, at_least: 3}
    - {event: pay}
    - {event: pay, did: false, within_days: 7, where: {brand: 资生堂}}
export:
  columns: [user_id, register_city, paid_amount_90d]
  contacts: {phone: clear}
  format: plain
"""

UTC = UTC


class Shop:
    """Writes what a run would publish, without an engine."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "tags").mkdir(parents=True)
        (folder / "audiences").mkdir()
        (folder / "huaxiang.yaml").write_text("name: {zh: 店, en: Shop}\n", encoding="utf-8")
        (folder / "tags" / "all.yaml").write_text(TAGS, encoding="utf-8")
        self.define("beijing", BEIJING)

    @classmethod
    def at(cls, folder: Path) -> Shop:
        """A shop that is there already."""
        found = cls.__new__(cls)
        found.folder = folder
        return found

    def define(self, name: str, text: str) -> None:
        (self.folder / "audiences" / f"{name}.yaml").write_text(text, encoding="utf-8")

    @property
    def project(self) -> Project:
        return Project.load(self.folder)

    @property
    def lake(self) -> Lake:
        return self.project.lake

    def put(self, table: str, rows: Sequence[Mapping[str, Any]], replace: Any = "all") -> None:
        """Publish rows, by partition; absent columns are null."""
        lake, c = self.lake, contract(table)
        lake.ensure(table, self.project.catalogue.columns if c.open else None)
        schema = lake.schema(table)
        run_id = f"test-{table}-{lake.version(table)}-{len(list(lake.path(table).glob('d-*')))}"
        folder = lake.stage(table, run_id)
        slices: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for row in rows:
            slices.setdefault(tuple(row[p] for p in c.partitions), []).append(row)
        for values, inside in slices.items():
            place = folder / partition_path(dict(zip(c.partitions, values, strict=True)))
            place.mkdir(parents=True, exist_ok=True)
            data = [{f.name: row.get(f.name) for f in schema if f.name not in c.partitions} for row in inside]
            made = pa.Table.from_pylist(data, file_schema(schema, c.partitions))
            pq.write_table(made, place / "rows.parquet")
        publish(lake, table, folder, replace=replace, read_version=None, run_id=run_id, key=run_id)
        journal.finish(lake, run_id)

    def release(self, as_of: date, people: Iterable[Mapping[str, Any]], number: int = 1) -> Release:
        """A profile of that day and the release that pins it; ``number`` tells runs of one day apart."""
        rows = [{"as_of": as_of, "bucket": p["uid"] // 100_000, "is_member": True, **p} for p in people]
        rows = [{"user_id": f"m{r['uid']:06d}", **r} for r in rows]
        self.put("profile.profile", sorted(rows, key=lambda r: r["uid"]), replace=[{"as_of": as_of}] if rows else None)
        layers = ("silver", "identity", "activity", "profile")
        tables = {n: v for n, v in self.lake.versions().items() if n.split(".")[0] in layers}
        return write_release(self.lake, as_of, f"run-{as_of}-{number}", tables)

    def activity(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.put("activity.activity", sorted(rows, key=lambda r: (r["uid"], r["occurred_at"])))

    def put_people(self) -> None:
        """Identity and member records of the eight; everybody agreed to marketing."""
        identifiers, users, members = [], [], []
        for i, uid in enumerate((1, 2, 3, 4, 5, 6, 7, 100_001)):
            users.append({"uid": uid, "bucket": uid // 100_000, "user_id": f"m{uid:06d}", "person_kind": "member"})
            identifiers.append({"id_kind": "member", "id_value": f"M{uid}", "uid": uid})
            members.append(silver(EARLY, i, member_id=f"M{uid}", phone=phone_of(uid), marketing_consent=True))
        self.put("identity.users", users)
        self.put("identity.identifiers", identifiers)
        self.put("silver.members", members)


def phone_of(uid: int) -> str:
    """Everybody's own: no two of the eight share one."""
    return f"1380013{uid % 9_973:04d}"


def act(uid: int, day: date, behaviour: str, hour: int = 3, **more: Any) -> dict[str, Any]:
    """One row of ``activity``: at 11 o'clock in Shanghai unless ``hour`` (UTC) says otherwise."""
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    numbers = dict.fromkeys(
        ("sku_code", "seller_code", "channel_code", "order_key", "quantity", "list_amount_minor", "amount_minor",
         "detail_code", "peer_uid"), 0)  # fmt: skip
    return {
        **numbers,
        "bucket": uid // 100_000,
        "period": day.year * 100 + day.month,
        "uid": uid,
        "occurred_at": at,
        "day": day,
        "behaviour_code": BEHAVIOURS[behaviour],
        "on_promotion": False,
        "valid_from_day": day,
        "known_day": day,
        **more,
    }


def silver(made: datetime, row: int = 1, **values: Any) -> dict[str, Any]:
    """One version of a silver row with its lineage."""
    return {
        "source_time": made,
        "event_month": made.year * 100 + made.month,
        "row_hash": str(row),
        "_batch_id": "b",
        "_file": "f",
        "_row": row,
        "_ingested_at": made,
        **values,
    }


D = date(2026, 3, 10)
EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def beijing_shop(folder: Path) -> Shop:
    """Eight people, of whom 1 and 2 (and 100001 in another bucket) are the source material's on day D.

    3 bought Shiseido 2 days ago, 4 lives in Shanghai, 5 visited twice, 6 never bought, 7 has no city.
    """
    shop = Shop(folder)
    shop.put(
        "activity.codes",
        [
            {"code_kind": "sku", "code": 1, "code_value": "S1"},
            {"code_kind": "sku", "code": 2, "code_value": "S2"},
        ],
    )
    shop.put(
        "silver.products",
        [
            silver(
                EARLY, 1, sku_id="S1", product_name="雪花膏", brand="资生堂", category="面霜", category_parent="护肤"
            ),
            silver(EARLY, 2, sku_id="S2", brand="百雀羚", category="面霜"),
        ],
    )
    rows = []
    for uid in (1, 2, 3, 4, 5, 6, 7, 100_001):
        for back in range(2 if uid == 5 else 3):
            rows.append(act(uid, D - timedelta(days=10 * back), "view", sku_code=1))
        if uid != 6:
            rows.append(
                act(uid, D - timedelta(days=80), "pay", order_key=uid, sku_code=1, quantity=1, amount_minor=9900)
            )
    rows.append(act(2, D - timedelta(days=7), "pay", order_key=22, sku_code=1, quantity=1, amount_minor=100))
    rows.append(act(3, D - timedelta(days=2), "pay", order_key=33, sku_code=1, quantity=1, amount_minor=100))
    rows.append(act(1, D, "pay", order_key=11, sku_code=2, quantity=1, amount_minor=100))
    shop.activity(rows)
    shop.put_people()
    shop.release(D, people())
    return shop


def people(**changed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Profile rows of the eight; ``u3={...}`` changes one."""
    cities = {1: "北京", 2: "北京", 3: "北京", 4: "上海", 5: "北京", 6: "北京", 7: None, 100_001: "北京"}
    found = [
        {"uid": u, "register_city": c, "gender": "female", "paid_amount_90d": 10000 * (u % 10)}
        for u, c in cities.items()
    ]
    return [{**p, **changed.get(f"u{p['uid']}", {})} for p in found]
