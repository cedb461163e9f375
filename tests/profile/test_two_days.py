"""A shop of two days: who comes on the second day has tags of the second day, whether or not the first was run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.catalogue import Catalogue
from lake.engine import Engine
from project.loading import load_catalogue
from tests.profile.conftest import TAGS, Shop
from tests.silver import at

pytestmark = pytest.mark.slow

D1, D2 = "2024-01-01", "2024-01-02"
SCORED = """
with days as (
    select member_id, date '2024-01-02' - max((paid_at at time zone 'Asia/Shanghai')::date) as silent
    from silver.orders group by 1
), cuts as (
    select unnest([quantile_cont(silent, 0.2), quantile_cont(silent, 0.4), quantile_cont(silent, 0.6),
                   quantile_cont(silent, 0.8)]) as cut from days
)
select member_id, 5 - (select count(*) from cuts where cut < silent) as score from days
"""


def come(first: int, last: int, day: str) -> list[dict[str, Any]]:
    return [{"member_id": f"u{n}", "when": at(f"{day} 10:00")} for n in range(first, last)]


PEOPLE = [*come(0, 600, D1), *come(600, 900, D2)]


def test_buyers_of_the_second_day_have_their_purchase_and_their_scores(tmp_path: Path, embedded: Engine) -> None:
    shop = Shop(tmp_path / "lake", embedded, load_catalogue([TAGS / "purchase.yaml", TAGS / "rfm.yaml"]))
    orders = [
        {"order_id": p["member_id"], "member_id": p["member_id"], "ordered_at": p["when"], "paid_at": p["when"]}
        for p in PEOPLE
    ]
    line = {"line_id": "1", "quantity": 1, "net_amount_minor": 1000, "sku_id": "s1"}
    shop.write("orders", *orders)
    shop.write("order_lines", *({**line, "order_id": o["order_id"], "ordered_at": o["ordered_at"]} for o in orders))
    shop.learn(D2)
    assert shop.profile(D1).users == 600
    report = shop.profile(D2)
    assert report.held == {}
    assert any("no reference yet" in w for w in report.warnings)
    counted = shop.rows(
        "select last_purchase_day::varchar as day, count(*) n from profile.profile where as_of = ? group by 1 order by 1",
        D2,
    )
    assert [tuple(r.values()) for r in counted] == [(D1, 600), (D2, 300)]
    wrong = shop.rows(
        f"select * from profile.profile p join identity.identifiers i on i.uid = p.uid and i.id_kind = 'member' "
        f"left join ({SCORED}) s on s.member_id = i.id_value "
        "where p.as_of = ? and (p.rfm_recency is distinct from s.score or p.rfm_segment = 'no_purchase')",
        D2,
    )
    assert wrong == []
    verdicts = shop.rows(
        "select distinct verdict from profile.tag_quality where as_of = ? and tag = 'last_purchase_day'", D2
    )
    assert [r["verdict"] for r in verdicts] == ["no_reference"]


def test_the_stage_of_a_day_does_not_depend_on_whether_the_day_before_was_run(
    tmp_path: Path, embedded: Engine, catalogue: Catalogue
) -> None:
    stages = []
    for days in ([D1, D2], [D2]):
        shop = Shop(tmp_path / str(len(days)) / "lake", embedded, catalogue)
        everybody = [{"member_id": p["member_id"], "source_time": at(f"{D1} 09:00")} for p in PEOPLE]
        shop.write("members", *({**m, "registered_at": m["source_time"]} for m in everybody))
        views = [{"member_id": p["member_id"], "occurred_at": p["when"], "behaviour": "view"} for p in PEOPLE]
        shop.write("browse", *({**v, "event_id": v["member_id"]} for v in views))
        shop.learn(D2)
        for day in days:
            shop.profile(day)
        stages.append(
            shop.rows(
                "select aipl_stage, views_7d, last_active_day::varchar as seen, count(*) n from profile.profile "
                "where as_of = ? group by all order by all",
                D2,
            )
        )
    assert stages[0] == stages[1]
    assert [(r["seen"], r["views_7d"], r["n"]) for r in stages[0]] == [(D1, 1, 600), (D2, 1, 300)]
