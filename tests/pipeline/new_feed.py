"""Two feeds that nobody wrote code for, as text for ``schemas/``, and what a shop makes of them: run by test_new_feed.py.

``python new_feed.py FOLDER ENGINE`` is started where a copy of ``schemas/`` with these texts comes before the real one.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

CODES = """\
    live_enter: {code: 25, zh: 进入直播间, en: a live room entered}
    live_tip: {code: 26, zh: 打赏, en: money given to the host of a live room}
    store_visit: {code: 27, zh: 到店, en: a visit to a store}
"""
FIELDS = """
room_id: {type: string, zh: 直播间号, en: Id of a live room}
entered_at: {type: timestamp, zh: 进入时间, en: When the live room was entered}
host_member_id: {type: string, personal: identifier, zh: 主播会员号, en: The member who hosts the live room}
tip_amount_minor: {type: int64, unit: minor, zh: 打赏金额, en: Money given to the host}
"""
CONTRACTS = """
live_rooms:
  description: {zh: 直播间行为, en: What people did in live rooms}
  label: {zh: 直播间, en: Live rooms}
  grain: event_id x version
  key: [event_id]
  generated: event_id
  event_time: [entered_at]
  needs_person: true
  persons: {member: member_id, openid: openid, device: device_id}
  peers: {member: host_member_id}
  becomes: {column: behaviour, amount: tip_amount_minor, on_site: true, shows_visit: [live_enter]}
  columns:
    event_id: {required: true}
    entered_at: {required: true}
    behaviour: {required: true, values: [live_enter, live_tip]}
    room_id: {required: true}
    member_id: {}
    openid: {}
    device_id: {}
    host_member_id: {}
    sku_id: {}
    tip_amount_minor: {min: 0}

store_visits:
  description: {zh: 到店, en: Visits to stores}
  label: {zh: 到店, en: Store visits}
  cadence: reference
  grain: event_id x version
  key: [event_id]
  generated: event_id
  event_time: [occurred_at]
  needs_person: true
  persons: {member: member_id}
  becomes: {behaviour: store_visit}
  columns:
    event_id: {required: true}
    occurred_at: {required: true}
    member_id: {}
    seller_id: {}
"""
HEADERS = {
    "live_rooms": "event_id,entered_at,behaviour,room_id,member_id,openid,device_id,host_member_id,sku_id,tip_amount_minor",
    "store_visits": "event_id,occurred_at,member_id,seller_id",
}
FIRST = {
    "live_rooms": (
        "r1,2026-03-04 20:00,live_enter,room1,m2,,,m1,s9,",
        # openid w2 is the member m2
        "r2,2026-03-05 20:00,live_enter,room1,,w2,,m1,s1,",
        "r3,2026-03-05 20:10,live_tip,room1,m2,,,m1,,500",
        # w9 is nobody that another feed knows; d9 is the same person by the first of these rows
        "r4,2026-03-06 20:00,live_enter,room1,,w9,d9,m1,,",
        "r5,2026-03-07 20:00,live_enter,room2,,,d9,m3,,",
        # no person: refused
        "r6,2026-03-07 20:00,live_enter,room2,,,,m3,,",
        # of a day after the run
        "r7,2026-03-09 20:00,live_enter,room2,m3,,,m1,,",
    ),
    "store_visits": ("v1,2026-03-06 11:00,m3,shop7", "v2,2026-03-07 11:00,m3,shop8"),
}
SECOND = {
    "live_rooms": (
        "r8,2026-03-09 21:00,live_enter,room2,m2,,,m1,,",
        # a late row: m1 is in no room of their own
        "r9,2026-03-05 21:00,live_tip,room2,m1,,,m3,,300",
    )
}
TAGS = """
defaults:
  kind: dynamic
  method: fact
  owner: crm
  refresh: daily
  version: 1
  empty: 0
  sources: [live_rooms]
  type: int64
  window: 30
tags:
  - id: live_enters_30d
    path: [活跃特征, 线上活跃, 直播]
    name: {zh: 进入直播间次数, en: Live rooms entered}
    description: {zh: 近 30 天进入直播间的次数。, en: Times of entering a live room in 30 days.}
    unit: times
    values: {min: 0}
    fact: {from: [live_enter], measure: rows, agg: count, window: 30}
  - id: live_tips_30d
    path: [活跃特征, 线上活跃, 直播]
    name: {zh: 打赏金额, en: Money for hosts}
    description: {zh: 近 30 天打赏金额。, en: Money given to hosts in 30 days.}
    unit: minor
    values: {min: 0}
    fact: {from: [live_tip], measure: amount, agg: sum, window: 30}
  - id: live_hosts_30d
    path: [活跃特征, 线上活跃, 直播]
    name: {zh: 主播数, en: Hosts}
    description: {zh: 近 30 天看过的主播数。, en: Hosts whose rooms were entered in 30 days.}
    unit: people
    values: {min: 0}
    fact: {from: [live_enter], measure: peer, agg: distinct, window: 30}
  - id: live_visits_30d
    path: [活跃特征, 线上活跃, 直播]
    name: {zh: 直播到访, en: Visits by live rooms}
    description: {zh: 近 30 天由直播间行为构成的到访。, en: Visits made of what was done in live rooms in 30 days.}
    unit: visits
    values: {min: 0}
    fact: {from: [live_enter, live_tip], measure: visits, agg: count, window: 30}
  - id: stores_30d
    path: [活跃特征, 线下活跃, 到店]
    name: {zh: 到店门店数, en: Stores visited}
    description: {zh: 近 30 天去过的门店数。, en: Stores visited in 30 days.}
    sources: [store_visits]
    unit: sellers
    values: {min: 0}
    fact: {from: [store_visit], measure: seller, agg: distinct, window: 30}
"""
AUDIENCES = {
    "in_rooms": "{event: live_enter, within_days: 30, at_least: 2}",
    "tipped": "{event: live_tip, measure: amount, within_days: 30, at_least: 400}",
    "on_site": "{event: browse, within_days: 2}",
}


def main(folder: Path, engine_name: str) -> dict[str, Any]:
    from cli.drafting.proposal import draft
    from jobs.activity.step import run_activity
    from jobs.ingest.step import ingest
    from jobs.pipeline import run
    from lake.engine import open_engine
    from lake.releases import latest
    from lake.sql import connect
    from project.folder import Project
    from queries.preview import preview
    from queries.status import status
    from queries.tag_lineage import lineage
    from report.catalogue_page import dictionary_page
    from schemas.contracts import HERE, taken_together
    from tests.pipeline import hand_made

    hand_made.HEADERS.update(HEADERS)
    project = hand_made.new_project(folder / "shop")
    (project.folder / "tags" / "live.yaml").write_text(TAGS, encoding="utf-8")
    for name, condition in AUDIENCES.items():
        text = f"name: {{zh: {name}, en: {name}}}\ndescription: {{zh: 说明, en: About}}\nowner: crm\ninclude: {condition}\n"
        (project.folder / "audiences" / f"{name}.yaml").write_text(text, encoding="utf-8")
    project = Project.load(project.folder)
    found: dict[str, Any] = {"schemas": str(HERE)}
    with open_engine(engine_name, memory_gb=2) as engine:
        for name, rows, day in (("first", hand_made.FIRST | FIRST, 8), ("second", SECOND, 9)):
            hand_made.deliver(project, name, rows)
            report = ingest(project, engine, received_at=datetime(2026, 3, day + 1, 2, tzinfo=UTC))
            found[f"{name} quarantined"] = report.rows("rows_quarantined")
            run(project, engine, date(2026, 3, day))
            with connect(project.lake, latest(project.lake)) as con:
                found[name] = con.execute(
                    "select coalesce(i.id_value, '') as who, live_enters_30d, live_tips_30d, live_hosts_30d, "
                    "live_visits_30d, stores_30d from profile.profile p left join (select uid, min(id_value) as id_value "
                    "from identity.identifiers where id_kind in ('member', 'openid') and id_value in ('m1', 'm2', 'm3', 'w9') "
                    "group by uid) i using (uid) where as_of = (select max(as_of) from profile.profile) order by all"
                ).fetchall()
        with connect(project.lake, None) as con:
            of_feeds = "from activity.activity where behaviour_code >= 25"
            found["silver"] = [con.execute(f"select count(*) from silver.{f}").fetchall()[0][0] for f in HEADERS]
            found["devices"] = con.execute(
                "select count(distinct uid) from identity.identifiers where id_value in ('w9', 'd9')"
            ).fetchall()[0][0]
            found["codes"] = con.execute(
                "select code_kind, code_value from activity.codes where code_value in ('s9', 'shop7', 'shop8') order by all"
            ).fetchall()
            grown = con.execute(f"select * {of_feeds} order by all").fetchall()
        found["audiences"] = {name: preview(project, name).users for name in AUDIENCES}
        shutil.rmtree(project.lake.path("activity.activity"))
        run_activity(project, engine, "anew")
        with connect(project.lake, None) as con:
            found["as rebuilt"] = grown == con.execute(f"select * {of_feeds} order by all").fetchall()
    found["status"] = sorted(f["feed"] for f in status(project)["feeds"])
    found["lineage"] = lineage(project, "live_enters_30d").feeds
    found["draft"] = [p.feed for p in draft(project.inbox / "live_rooms-first.csv").parts]
    found["dictionary"] = [line for line in dictionary_page().splitlines() if "`live_rooms`" in line]
    found["together"] = {name: feeds for name, feeds in taken_together().items() if set(feeds) & set(HEADERS)}
    return found


if __name__ == "__main__":
    made = main(Path(sys.argv[1]), sys.argv[2])
    Path(sys.argv[1], "found.json").write_text(json.dumps(made, default=str), encoding="utf-8")
