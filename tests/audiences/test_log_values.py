"""The log of an audience says from what to what the deciding condition moved, and in which arms of campaigns people are."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.audiences.build import LOG
from jobs.audiences.changes import logged_changes
from jobs.audiences.export import export
from jobs.audiences.step import build
from jobs.campaigns.assign import assign_arms
from schemas.arrow import arrow_schema
from schemas.contracts import Contract
from tests.audiences.lake_shop import D, Shop, people
from tests.audiences.shop import HEAD
from tests.audiences.test_audience_jobs import Elsewhere, sql
from tests.campaigns import campaign_shop

NEXT = D + timedelta(days=1)
NEW = ("value_before", "value_now", "split_group")


def moved(shop: Shop, day: date) -> dict[int, tuple[Any, ...]]:
    """The changes of a day by uid: which, from what, to what."""
    rows = sql(shop, LOG, f"select uid, change, value_before, value_now from t where as_of = date '{day}'")
    return {row[0]: row[1:] for row in rows}


def next_day(shop: Shop, day: date = NEXT, **changed: dict[str, Any]) -> dict[int, tuple[Any, ...]]:
    shop.release(day, people(**changed))
    build(shop.project, "beijing")
    return moved(shop, day)


def test_values_before_and_now_are_those_of_the_condition_that_decided(shop: Shop) -> None:
    build(shop.project, "beijing")
    assert set(moved(shop, D).values()) == {("enter", None, None)}, "a first build moved nothing"
    found = next_day(
        shop,
        u1={"register_city": "上海"},
        u2={"register_city": None},
        u4={"register_city": "北京"},
        u7={"register_city": "北京"},
    )
    assert found == {
        1: ("exit", "北京", "上海"),
        2: ("exit", "北京", "unknown"),
        4: ("enter", "上海", "北京"),
        7: ("enter", "unknown", "北京"),
    }


@pytest.mark.parametrize(
    ("condition", "before", "now", "said"),
    [
        ("tag: paid_amount_90d, at_least: 30000", 29_999, 30_000, ("enter", "299.99 CNY", "300.00 CNY")),
        ("tag: paid_amount_90d, below: 30000", 29_999, 30_000, ("exit", "299.99 CNY", "300.00 CNY")),
        ("tag: paid_amount_90d, known: true", None, 7, ("enter", "unknown", "0.07 CNY")),
    ],
)
def test_money_is_in_main_units(shop: Shop, condition: str, before: Any, now: Any, said: tuple[str, ...]) -> None:
    shop.define("beijing", f"{HEAD}include: {{{condition}}}\n")
    shop.release(D, people(u3={"paid_amount_90d": before}), number=2)
    build(shop.project, "beijing")
    assert next_day(shop, u3={"paid_amount_90d": now}) == {3: said}


def test_counts_of_behaviour_have_values_and_several_conditions_together_have_none(shop: Shop) -> None:
    build(shop.project, "beijing")
    day = D + timedelta(days=5)
    assert next_day(shop, day) == {3: ("enter", "1", "0")}, "of the purchases in 7 days"
    either = "any: [{tag: register_city, is: 上海}, {tag: gender, is: male}]"
    shop.define("beijing", f"{HEAD}include: {{{either}}}\n")
    found = next_day(shop, day + timedelta(days=1))
    assert found[4] == ("enter", None, None) and found[1] == ("exit", None, None)


def test_where_the_build_before_cannot_be_read_only_the_value_now_is_known(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(shop.project, "beijing")
    monkeypatch.setattr("jobs.audiences.build.Build.inputs_before", lambda self, scratch: None)
    assert next_day(shop, u1={"register_city": "上海"}) == {1: ("exit", None, "上海")}


def test_a_log_of_before_there_were_values_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("lake.lake.arrow_schema", without_values)
        older.setattr("jobs.audiences.build.arrow_schema", without_values)
        older.setattr("jobs.audiences.build.logged_changes", changes_without_values)
        build(shop.project, "beijing")
    assert not set(NEW) & set(shop.lake.schema(LOG).names)
    assert next_day(shop, u1={"register_city": "上海"}) == {1: ("exit", "北京", "上海")}
    assert set(moved(shop, D).values()) == {("enter", None, None)}


def without_values(c: Contract) -> pa.Schema:
    found = arrow_schema(c)
    return pa.schema([f for f in found if f.name not in NEW]) if c.name == LOG else found


def changes_without_values(*asked: Any) -> pa.Table:
    return logged_changes(*asked).drop_columns(list(NEW))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Arms were given on the first day; on the second people leave both audiences."""
    shop = campaign_shop.campaign_shop(tmp_path_factory.mktemp("arms") / "shop")
    for name in ("everybody", "women"):
        build(shop.project, name, which=1)
    assign_arms(shop.project, "spring", which=1)
    shop.define("elsewhere", (shop.folder / "audiences" / "everybody.yaml").read_text("utf-8"))
    shop.release(campaign_shop.END, campaign_shop.people(without=range(1, 101)), number=2)
    for name in ("everybody", "women", "elsewhere"):
        build(shop.project, name)
    return shop


def test_the_arm_of_a_campaign_stands_beside_who_came_and_went(campaign: Shop) -> None:
    given = dict(sql(campaign, "campaigns.assignments", "select uid, arm from t"))
    assert len(set(given.values())) == 3, "with the held out"
    for name in ("everybody", "women"):
        query = (
            f"select uid, change, split_group from t where audience = '{name}' and as_of = date '{campaign_shop.END}'"
        )
        rows = sql(campaign, LOG, query)
        assert len(rows) == (100 if name == "everybody" else 67) and {change for _, change, _ in rows} == {"exit"}
        assert all(group == f"spring:{given[uid]}" for uid, _, group in rows)
    first = sql(campaign, LOG, f"select distinct split_group from t where as_of = date '{campaign_shop.START}'")
    assert first == [(None,)], "nobody had one when they came"
    other = sql(campaign, LOG, "select distinct split_group from t where audience = 'elsewhere'")
    assert other == [(None,)], "no campaign names it"


def test_an_engine_writes_the_log_of_this_process(
    campaign: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(campaign.folder, tmp_path / "shop")
    shop = Shop.at(tmp_path / "shop")
    monkeypatch.setattr("jobs.audiences.columns.INLINE_BUCKETS", 0)
    at = shop.release(campaign_shop.END, campaign_shop.people(without=range(1, 101)), number=3)
    done = build(shop.project, "women", which=at.number, engine=Elsewhere())  # type: ignore[arg-type]
    query = "select * from t where audience = 'women' and change = 'exit' order by uid"
    rows = sql(shop, LOG, query)
    assert done.exits == 67 and rows == sql(campaign, LOG, query)
    assert {row[-1] for row in rows} >= {"spring:coupon", "spring:holdout"}


def test_campaigns_with_mistakes_stop_no_build_and_are_said(campaign: Shop) -> None:
    path: Path = campaign.folder / "campaigns" / "broken.yaml"
    path.write_text("name: {zh: 坏}\n", encoding="utf-8")
    campaign.release(campaign_shop.END + timedelta(days=1), campaign_shop.people())
    done = export(campaign.project, "everybody", requested_by="li", force=True)
    path.unlink()
    assert any("campaigns have mistakes" in w for w in done.built.warnings)
