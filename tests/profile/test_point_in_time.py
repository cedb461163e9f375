"""The profile as it stood on a day, and as it could be known then."""

from __future__ import annotations

import csv
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.profile.point_in_time
from audiences.delivery import cell
from features.catalogue import Catalogue
from jobs.profile.point_in_time import VIEW, PointInTime, _computable, point_in_time
from lake.engine import Engine
from lake.lake import Lake
from lake.releases import write_release
from project.folder import Project, ProjectSettings
from project.loading import load_catalogue
from schemas.errors import HuaxiangError, NotThereError
from tests.profile.conftest import Shop
from tests.profile.small import COMMON, catalogue_of
from tests.shipped import catalogue as shipped_catalogue
from tests.silver import at

pytestmark = pytest.mark.slow

DAY, BEFORE, LATE = "2026-03-10", "2026-03-12 06:00", "2026-03-25 06:00"


class AsProject(Project):
    """A shop's lake and catalogue as those of a project."""

    def __init__(self, shop: Shop):
        super().__init__(shop.lake.root.parent, ProjectSettings(lake=str(shop.lake.root)))
        self.__dict__["lake"], self.__dict__["catalogue"] = shop.lake, shop.catalogue


def behavioural(folder: Path) -> Catalogue:
    """Facts of behaviour beside the small catalogue's tags."""
    import json

    def fact(name: str, measure: str, agg: str, unit: str, window: int) -> dict[str, Any]:
        source = {"from": ["pay"], "measure": measure, "agg": agg, "window": window}
        number = {"type": "int64", "unit": unit, "values": {"min": 0}, "empty": 0, "method": "fact"}
        return {"id": name, **COMMON, "name": {"zh": name, "en": name}, "window": window, "fact": source, **number}

    catalogue_of(folder)
    tags = [fact("orders_30d", "orders", "count", "orders", 30), fact("net_30d", "net_amount", "sum", "minor", 30)]
    (folder / "facts.yaml").write_text(json.dumps({"tags": tags}, ensure_ascii=False), encoding="utf-8")
    return load_catalogue(sorted(folder.glob("*.yaml")))


def order(shop: Shop, order_id: str, member: str, day: str, ingested: str) -> None:
    when = {"ordered_at": at(f"{day} 10:00"), "order_id": order_id}
    line = {**when, "line_id": "1", "sku_id": "s", "quantity": 1, "list_amount_minor": 900, "net_amount_minor": 900}
    shop.write("orders", {**when, "member_id": member, "paid_at": at(f"{day} 10:01")}, ingested=ingested)
    shop.write("order_lines", line, ingested=ingested)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> tuple[Shop, dict[str, Any]]:
    """Orders and a refund arrive two weeks late; the day is published before they came, and again after."""
    shop = Shop(tmp_path_factory.mktemp("late") / "lake", embedded, behavioural(tmp_path_factory.mktemp("tags")))
    known = {"registered_at": at("2026-02-01 10:00"), "source_time": at("2026-02-01 10:00"), "points": 5}
    shop.write("members", *({"member_id": f"m{n}", **known} for n in range(3)), ingested=BEFORE)
    order(shop, "o1", "m1", "2026-03-05", BEFORE)
    order(shop, "o4", "m0", "2026-03-05", BEFORE)
    shop.learn(DAY)
    shop.profile(DAY)
    first = snapshot(shop, DAY)
    order(shop, "o2", "m1", "2026-03-06", LATE)
    order(shop, "o3", "m2", "2026-03-07", LATE)
    refund = {"refund_id": "r1", "order_id": "o4", "refunded_at": at("2026-03-08 10:00"), "refund_amount_minor": 900}
    shop.write("refunds", refund, ingested=LATE)
    shop.write("members", {"member_id": "m0", **known, "points": 9}, ingested=LATE)
    shop.learn("2026-03-25")
    shop.profile(DAY)
    shop.profile("2026-03-25")
    release(shop, "2026-03-25")
    return shop, first


def release(shop: Shop, day: str) -> None:
    write_release(shop.lake, date.fromisoformat(day), f"run-{day}", shop.lake.versions())


def snapshot(shop: Shop, day: str) -> list[dict[str, Any]]:
    return shop.rows("select * exclude (bucket) from profile.profile where as_of = ? order by uid", day)


def given_at(shop: Shop, day: str, **more: Any) -> tuple[Any, list[dict[str, Any]]]:
    with point_in_time(AsProject(shop), shop.engine, date.fromisoformat(day), **more) as found:
        cursor = found.con.execute(f"from {VIEW}")
        names = [d[0] for d in cursor.description or ()]
        return found, [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]


def test_as_known_then_is_what_was_published_before_the_late_rows(late: tuple[Shop, Any]) -> None:
    shop, first = late
    published = {t: shop.lake.version(t) for t in ("profile.profile", "profile.breaks", "profile.tag_changes")}
    found, rows = given_at(shop, DAY, known_at=at(BEFORE))
    assert found.origin == "recomputed"
    assert rows == first
    assert [(r["orders_30d"], r["net_30d"], r["points"]) for r in rows] == [(1, 900, 5), (1, 900, 5), (0, 0, 5)]
    assert {t: shop.lake.version(t) for t in published} == published, "nothing is published"
    assert not list((shop.lake.root / "ops" / "scratch").glob("profile-*"))


def test_as_it_stands_is_the_repaired_snapshot(late: tuple[Shop, Any]) -> None:
    shop, first = late
    found, rows = given_at(shop, DAY)
    assert found.origin == "snapshot"
    assert rows == snapshot(shop, DAY) != first
    assert [(r["orders_30d"], r["net_30d"], r["points"]) for r in rows] == [(0, 0, 9), (2, 1800, 5), (1, 900, 5)]


def test_a_day_whose_snapshot_is_gone_comes_from_the_process_of_dynamic_tags(
    late: tuple[Shop, Any], tmp_path: Path
) -> None:
    shop, _ = late
    shutil.copytree(shop.lake.root, tmp_path / "lake")
    shop = Shop(tmp_path / "lake", shop.engine, shop.catalogue)
    kept = snapshot(shop, DAY)
    shop.profile("2026-03-26", keep_days=3)
    assert given_at(shop, DAY)[0].origin == "snapshot", "until that is released"
    release(shop, "2026-03-26")
    found, rows = given_at(shop, DAY)
    assert found.origin == "history"
    dynamic = [n for n in shop.catalogue.tags if n != "opted"]
    assert [{n: r[n] for n in ("uid", "user_id", *dynamic)} for r in rows] == [
        {n: r[n] for n in ("uid", "user_id", *dynamic)} for r in kept
    ]
    assert any("1 static and semi-dynamic tags" in n for n in found.notes)
    between, _ = given_at(shop, "2026-03-15", tags=["orders_30d"])
    assert f"since {DAY}" in between.notes[0]
    with pytest.raises(NotThereError, match="no process is kept"):
        given_at(shop, DAY, tags=["opted"])
    with pytest.raises(NotThereError, match=f"the first day is {DAY}"):
        given_at(shop, "2026-03-01")
    with pytest.raises(NotThereError, match="2026-04-30 has not been released; the newest day is 2026-03-26"):
        given_at(shop, "2026-04-30")


def test_it_is_written_as_parquet_or_csv(late: tuple[Shop, Any], tmp_path: Path) -> None:
    shop, _ = late
    with point_in_time(AsProject(shop), None, date.fromisoformat(DAY), tags=["net_30d"]) as found:
        found.write(tmp_path / "p.parquet")
        found.write(tmp_path / "p.csv")
        with pytest.raises(HuaxiangError, match=r"\.parquet or \.csv"):
            found.write(tmp_path / "p.xlsx")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["as_of", "uid", "user_id", "is_member", "net_30d"]
    assert table["as_of"].type == pa.date32()
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "as_of,uid,user_id,is_member,net_30d_CNY"
    minor = [v for v in table["net_30d"].to_pylist() if v]
    main = [row.split(",")[-1] for row in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert minor and sorted(f"{v / 100:.2f}" for v in minor) == sorted(v for v in main if v not in ("", "0.00"))


def test_cells_of_a_csv_are_those_of_audience_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.profile.point_in_time, "BATCH_ROWS", 2, raising=False)
    texts = ["=1", "﹦cmd", "﹢1", "⁺1", "'=1", "00123", "12E5", "\u3000@x", "a,b", "北京", "", None]
    with duckdb.connect() as con:
        con.register("given", pa.table({"n": range(len(texts)), "text": texts}))
        con.execute(f"create view {VIEW} as select n, n = 0 as first, date '2026-03-10' as day, text from given")
        PointInTime(date(2026, 3, 10), None, "snapshot", len(texts), ("text",), (), con).write(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as f:
        head, *rows = csv.reader(f)
    assert head == ["n", "first", "day", "text"]
    assert rows[0][:3] == ["0", "true", "2026-03-10"]
    assert [r[3] for r in rows] == [cell(t) for t in texts]
    assert [t for t, r in zip(texts, rows, strict=True) if r[3] != (t or "")] == texts[:8]


def test_what_rests_on_a_day_that_was_not_run_is_left_out_of_what_could_be_known(tmp_path: Path) -> None:
    lake, catalogue = Lake(tmp_path, "Asia/Shanghai"), shipped_catalogue()
    asked = ["net_amount_365d", "promotion_class", "share_breadth"]
    given, (note,) = _computable(lake, catalogue, date(2026, 3, 10), asked)
    assert given == ["net_amount_365d"]
    assert note.startswith("not given: promotion_class, share_breadth; 2026-03-10 was not run")
    with pytest.raises(NotThereError, match="cannot be computed: share_breadth"):
        _computable(lake, catalogue, date(2026, 3, 10), ["share_breadth"])
