"""A shop of a handful of people, written by hand: small enough that one run takes seconds, with every feed that a run reads."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from jobs.ingest.step import IngestReport, ingest
from lake.engine import Engine
from project import setup
from project.folder import Project

RECEIVED = datetime(2026, 3, 11, 2, 0, tzinfo=UTC)
HEADERS = {
    "members": "member_id,registered_at,phone,openid,province,inviter_member_id,source_time",
    "products": "sku_id,category,brand,source_time",
    "orders": "order_id,ordered_at,paid_at,member_id,share_id,source_time",
    "order_lines": "order_id,ordered_at,sku_id,quantity,net_amount_minor,source_time",
    "browse": "event_id,occurred_at,behaviour,member_id,openid,device_id,sku_id",
    "shares": "event_id,occurred_at,behaviour,member_id,openid,sharer_member_id,share_id,sku_id,order_id",
}
FIRST = {
    "members": (
        "m1,2026-03-01 10:00,13800000001,w1,北京,,2026-03-01 10:00",
        "m2,2026-03-02 10:00,13800000002,w2,上海,m1,2026-03-02 10:00",
        "m3,2026-03-03 11:00,13800000003,w3,上海,m1,2026-03-03 11:00",
    ),
    "products": ("s1,tea,A,2026-03-01 08:00", "s2,pot,B,2026-03-01 08:00"),
    "orders": (
        "o1,2026-03-03 10:00,2026-03-03 10:05,m1,,2026-03-03 10:05",
        "o2,2026-03-05 10:00,2026-03-05 10:05,m2,c1,2026-03-05 10:05",
        "o3,2026-03-06 10:00,2026-03-06 10:05,m1,,2026-03-06 10:05",
    ),
    "order_lines": (
        "o1,2026-03-03 10:00,s1,1,3000,2026-03-03 10:05",
        "o2,2026-03-05 10:00,s2,2,8000,2026-03-05 10:05",
        "o3,2026-03-06 10:00,s1,1,3100,2026-03-06 10:05",
    ),
    "browse": (
        "b1,2026-03-04 09:00,view,,w4,,s1",
        "b2,2026-03-04 10:00,view,,,d5,s2",
        "b3,2026-03-05 09:00,cart,m2,,,s2",
    ),
    "shares": (
        "e1,2026-03-01 12:00,share,m1,,,c1,s1,",
        "e2,2026-03-02 09:00,share_open,,w2,m1,c1,s1,",
        "e3,2026-03-03 09:00,share_open,,w3,m1,c1,s1,",
    ),
}


def new_project(folder: Path, **settings: Any) -> Project:
    """The shipped tags and methods, one mapping a feed whose columns are called as its fields are, an empty inbox."""
    setup.init(folder)
    for part in ("sources", "audiences", "campaigns"):
        shutil.rmtree(folder / part)
        (folder / part).mkdir()
    for feed, header in HEADERS.items():
        mapping = {
            "feed": feed,
            "files": f"{feed}-*.csv",
            "format": "csv",
            "fields": {
                name: {"column": name, "unit": "minor"} if name.endswith("_minor") else name
                for name in header.split(",")
            },
        }
        (folder / "sources" / f"{feed}.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
    if settings:
        change_settings(folder, **settings)
    return Project.load(folder)


def change_settings(folder: Path, **settings: Any) -> Project:
    path = folder / "huaxiang.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(found | settings, allow_unicode=True), encoding="utf-8")
    return Project.load(folder)


def deliver(project: Project, name: str, rows: dict[str, tuple[str, ...]] = FIRST) -> None:
    """One file a feed into the inbox, named ``FEED-name.csv``."""
    for feed, lines in rows.items():
        text = "\n".join([HEADERS[feed], *lines]) + "\n"
        (project.inbox / f"{feed}-{name}.csv").write_text(text, encoding="utf-8")


def taken(project: Project, engine: Engine, name: str, rows: dict[str, tuple[str, ...]] = FIRST) -> IngestReport:
    """Deliver and ingest; nothing may be refused or set aside."""
    deliver(project, name, rows)
    report = ingest(project, engine, received_at=RECEIVED)
    assert not report.failed and not report.rows("rows_quarantined"), report.text()
    return report
