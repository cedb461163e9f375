"""The profile of a day does not depend on which other days were run before, save for what is declared to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.quality import QualitySettings
from jobs.insights.quality import insight
from jobs.insights.step import InsightRun
from lake.engine import Engine
from project.loading import load_catalogue
from tests.profile.conftest import Shop
from tests.profile.small import COMMON
from tests.silver import at

pytestmark = pytest.mark.slow

FIRST, DAYS, SALE = date(2026, 3, 1), 12, 9
EVERY_DAY = [FIRST + timedelta(days=i) for i in range(DAYS)]
NERVOUS = QualitySettings(min_users=1, min_runs=1, psi=0.0001, act=0.0001, watch=0.0001, coverage_drop=0.01)
"""Everything that moves at all breaks a limit."""
NUMBER = {"type": "int64", "values": {"min": 0}, "method": "fact", "empty": 0}
STRATEGY = {"zh": "无", "en": "None"}
TAGS: dict[str, dict[str, Any]] = {
    "orders_3d": {**NUMBER, "unit": "orders", "window": 3}
    | {"fact": {"from": ["pay"], "measure": "orders", "agg": "count", "window": 3}},
    "views_2d": {**NUMBER, "unit": "views", "window": 2, "sources": ["browse"]}
    | {"fact": {"from": ["view"], "measure": "rows", "agg": "count", "window": 2}},
    "last_day": {"type": "date", "method": "fact", "empty": "unknown"}
    | {"fact": {"from": ["pay"], "measure": "day", "agg": "last"}},
    "silent_days": {
        **NUMBER,
        "unit": "days",
        "empty": "unknown",
        "log_bands": [2, 5],
        "expression": "as_of - last_day",
    },
    "recency": {**NUMBER, "unit": "score", "empty": "unknown", "values": [1, 2, 3]}
    | {"method": "rule", "expression": "3 - breaks_below(silent_days, 'thirds')"},
    "stage": {"type": "string", "method": "rule", "scheme": True, "empty": "none"}
    | {"values": ["recovered", "fresh", "late", "none"]}
    | {"strategies": dict.fromkeys(["recovered", "fresh", "late", "none"], STRATEGY)}
    | {
        "rules": [
            {"when": "as_of - came_back < 2", "value": "recovered"},
            {"when": "silent_days <= statistic('mean_silence')", "value": "fresh"},
            {"when": "silent_days >= 0", "value": "late"},
        ],
        "else": "none",
    },
    "city": {"kind": "semi_dynamic", "type": "string", "method": "fact", "empty": "unknown"}
    | {"values": {"from": "members.city"}, "attribute": "city"},
    "points": {**NUMBER, "kind": "semi_dynamic", "unit": "points", "empty": "keep_last", "attribute": "points"},
    "above_kept": {"type": "bool", "method": "rule", "empty": "unknown"}
    | {"expression": "silent_days > statistic('kept_silence')"},
}
DECLARED = {"points": "keep_last", "above_kept": "a kept number is fitted on the first day that is run"}
"""Tags that may depend on the days that were run before, and why."""
WRONG = """
select p.as_of, p.uid, p.orders_3d, o.n from profile.profile p
join identity.identifiers i on i.uid = p.uid and i.id_kind = 'member'
left join (
    select d.as_of, member_id, count(*) as n from silver.orders
    join (select distinct as_of from profile.profile) d
      on (paid_at at time zone 'Asia/Shanghai')::date between d.as_of - 2 and d.as_of group by all
) o on o.as_of = p.as_of and o.member_id = i.id_value
where p.orders_3d <> coalesce(o.n, 0)
"""
CONTENT = {
    "facts": {"came_back": {"from": ["pay"], "measure": "day", "agg": "returned", "min_gap_of": "silence"}},
    "breaks": {
        "silence": {"of": "silent_days", "fixed": [3]},
        "thirds": {"of": "silent_days", "quantiles": [0.34, 0.67]},
        "mean_silence": {"of": "silent_days", "statistic": "mean"},
        "kept_silence": {"of": "silent_days", "statistic": "mean", "keep": True},
    },
    "tags": [{"id": n, **COMMON, "sources": ["orders"], "name": {"zh": n, "en": n}, **tag} for n, tag in TAGS.items()],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Shop:
    """Forty people; every day others order, browse, register and change their record; then there is a sale."""
    path = tmp_path_factory.mktemp("tags") / "paths.yaml"
    path.write_text(json.dumps(CONTENT, ensure_ascii=False), encoding="utf-8")
    shop = Shop(tmp_path_factory.mktemp("paths") / "lake", embedded, load_catalogue([path]))
    members, orders, lines, browse = [], [], [], []
    for i, day in enumerate(EVERY_DAY):
        for n in range(40):
            who = {"member_id": f"m{n:02d}"}
            if (n + i) % 10 == 0:
                points = None if i % 3 else n * i
                state = {"city": ("北京", "上海")[(n + i) % 2], "points": points, "source_time": at(f"{day} 09:00")}
                members.append({**who, **state, "registered_at": at(f"{FIRST} 08:00")})
            if (n * 7 + i) % (1 if i == SALE else 4) == 0:
                when = at(f"{day} 10:00")
                orders.append({**who, "order_id": f"o{n}-{i}", "ordered_at": when, "paid_at": when})
                line = {"order_id": f"o{n}-{i}", "line_id": "1", "ordered_at": when, "sku_id": "s"}
                lines.append({**line, "quantity": 1, "net_amount_minor": 100})
            if (n + 3 * i) % 5 == 0:
                browse.append({**who, "event_id": f"b{n}-{i}", "occurred_at": at(f"{day} 11:00"), "behaviour": "view"})
    for feed, rows in {"members": members, "orders": orders, "order_lines": lines, "browse": browse}.items():
        shop.write(feed, *rows)
    shop.learn(EVERY_DAY[-1].isoformat())
    return shop


@contextmanager
def copied(shop: Shop) -> Iterator[Shop]:
    """A lake of its own with the same rows."""
    with TemporaryDirectory() as folder:
        shutil.copytree(shop.lake.root, Path(folder) / "lake")
        mine = Shop(Path(folder) / "lake", shop.engine, shop.catalogue)
        try:
            yield mine
        finally:
            mine.changed()


def profile(shop: Shop, days: list[date]) -> dict[str, dict[str, Any]]:
    """What every tag is on the last of the days, which are run in this order."""
    with copied(shop) as mine:
        for day in days:
            mine.profile(day.isoformat(), quality=NERVOUS)
        rows = mine.rows("select * from profile.profile where as_of = ?", days[-1])
    return {r["user_id"]: {n: r[n] for n in TAGS if n not in DECLARED} for r in rows}


@pytest.fixture(scope="module")
def alone(shop: Shop) -> dict[date, dict[str, dict[str, Any]]]:
    return {day: profile(shop, [day]) for day in EVERY_DAY[-3:]}


@given(st.data())
def test_the_profile_of_a_day_is_the_same_whichever_days_were_run_before(
    shop: Shop, alone: dict[date, dict[str, dict[str, Any]]], data: st.DataObject
) -> None:
    day = data.draw(st.sampled_from(EVERY_DAY[-3:]))
    others = data.draw(st.lists(st.sampled_from([d for d in EVERY_DAY if d != day]), max_size=3, unique=True))
    assert profile(shop, [*others, day]) == alone[day]


def test_only_declared_tags_are_left_out(shop: Shop) -> None:
    catalogue = shop.catalogue
    kept = [("break", n) for n, b in catalogue.breaks.items() if b.spec.keep]
    on_kept = {n for n in TAGS if set(kept) & catalogue.closure([("tag", n)])}
    assert set(DECLARED) == on_kept | {n for n, t in catalogue.tags.items() if t.empty == "keep_last"}


def test_a_sale_is_told_of_with_its_feed_and_changes_no_number(shop: Shop) -> None:
    settings, sale = QualitySettings(min_users=20), EVERY_DAY[SALE]
    with copied(shop) as mine:
        said = {i: mine.profile(day.isoformat(), quality=settings) for i, day in enumerate(EVERY_DAY)}
        told = {i: [w for w in r.warnings if "look back" not in w] for i, r in said.items()}
        wrong = mine.rows(WRONG)
        project: Any = SimpleNamespace(
            lake=mine.lake, catalogue=mine.catalogue, settings=SimpleNamespace(quality=settings)
        )
        engine: Any = None
        alerts = {r["alert"]: r for r in insight(InsightRun(project, engine, sale, "alerts")).alerts}
        verdicts = {
            str(r["as_of"]): r
            for r in mine.rows("select * from profile.tag_quality where tag = 'orders_3d' and is_member")
        }
    assert wrong == []
    assert {n: (a["number"], a["limit_number"], a["is_raised"], a["alert_reason"]) for n, a in alerts.items()} == {
        "tags_moved": (5, 0, True, "judged"),
        "feed_rows.orders": (40, 10, True, "long"),
    }
    assert not any(r.held for r in said.values())
    assert [verdicts[str(d)]["verdict"] for d in EVERY_DAY[:2]] == ["first", "no_reference"]
    assert verdicts[str(sale)]["verdict"] == "act"
    moved, feed = told[SALE]
    assert moved.startswith("5 tags moved further since 2026-03-09 than usual: last_day (PSI ")
    assert "and 3 made from them. They are published as they come" in moved
    assert feed == "feed orders brought 40 rows on 2026-03-10, usually 10; 5 of the tags that moved come from it"
    # before a week of runs nobody knows what is usual, and what only grows older is no move
    assert all("no reference yet" in line for i in range(1, 8) for line in told[i])
    assert not any("last_day" in line for line in told[SALE + 1])
