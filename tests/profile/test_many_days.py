"""The profile step on a busy shop over several days: history, flows, frozen numbers, re-runs and back-fills."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.breaks import counted, quantiles
from features.changes import TwoSnapshots, as_kept, as_text
from jobs.profile import inputs
from jobs.profile.compared import _ChangesFile
from jobs.profile.inputs import BUCKET_FILE, log_of
from jobs.profile.snapshots import expired
from jobs.profile.step import TABLES
from lake.publish import Days
from schemas.arrow import ARROW
from schemas.errors import AuditError
from tests.profile.conftest import DAYS, Shop

pytestmark = pytest.mark.slow


def contents(shop: Shop) -> dict[str, list[Any]]:
    """Every table of the step, in a fixed order of rows; stamps of fitting aside."""
    found = {}
    for table in TABLES:
        rows = shop.rows(f"select * from {table}")
        found[table] = sorted(repr({k: v for k, v in r.items() if k != "created_at"}) for r in rows)
    return found


@pytest.fixture
def copy(busy: Shop, tmp_path: Path) -> Shop:
    """The busy shop's lake, to be written to."""
    shutil.copytree(busy.lake.root, tmp_path / "lake")
    return Shop(tmp_path / "lake", busy.engine, busy.catalogue)


def test_every_base_user_stands_once_in_every_segmentation(busy: Shop) -> None:
    for scheme in busy.catalogue.schemes:
        wrong = busy.rows(
            f"""
            select p.as_of, p.uid, count(s.segment) n from profile.profile p
            left join segments.segments s
              on s.as_of = p.as_of and s.uid = p.uid and s.scheme = ? and s.segment = p.{scheme} and s.is_member = p.is_member
            group by all having n <> 1
            """,
            scheme,
        )
        assert wrong == [], scheme
    (sizes,) = busy.rows("select (select count(*) from segments.segments) s, (select count(*) from profile.profile) p")
    assert sizes["s"] == sizes["p"] * len(busy.catalogue.schemes)


def test_slices_of_a_bucket_give_what_the_whole_bucket_gives(copy: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(copy)
    monkeypatch.setattr(inputs, "LEAST_SLICE", 100)
    copy.profile(DAYS[-1])
    files = copy.lake.files("profile.profile", where={"as_of": date.fromisoformat(DAYS[-1])})
    assert len([f for f in files if f.rows]) > 1
    assert contents(copy) == before


def test_flows_conserve_users(busy: Shop) -> None:
    standing: dict[tuple[str, str], dict[str, int]] = {}
    for r in busy.rows("select as_of, scheme, segment, count(*) n from segments.segments group by all"):
        standing.setdefault((str(r["as_of"]), r["scheme"]), {})[r["segment"]] = r["n"]
    every = busy.rows("select * from segments.segment_flows")
    for before, day in pairwise(DAYS):
        flows = [f for f in every if str(f["as_of"]) == day]
        assert {str(f["from_as_of"]) for f in flows} == {before}
        for scheme in busy.catalogue.schemes:
            here = [f for f in flows if f["scheme"] == scheme]
            assert sums(here, "from_segment", without="NEW") == standing[(before, scheme)]
            assert sums(here, "to_segment", without="LOST") == standing[(day, scheme)]


def sums(flows: list[dict[str, Any]], side: str, without: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for f in flows:
        if f[side] != without:
            found[f[side]] = found.get(f[side], 0) + f["users"]
    return found


def test_the_first_snapshot_has_no_flows_and_logs_what_is_known(busy: Shop) -> None:
    assert busy.rows("select 1 from segments.segment_flows where as_of = ?", DAYS[0]) == []
    (first,) = busy.rows("select count(*) n, count(value) known from profile.tag_changes where from_day = ?", DAYS[0])
    assert first["n"] == first["known"] > 0


def history_differs(shop: Shop, days: list[str], tags: list[str]) -> list[Any]:
    """Users and tags whose history says something else than the snapshot of the day."""
    wrong: list[Any] = []
    for day in days:
        for name in tags:
            tag = shop.catalogue.tags[name]
            rows = shop.rows(
                f"""
                select p.uid, p.{name} shown, h.value from profile.profile p
                left join profile.tag_history h on h.uid = p.uid and h.tag = '{name}'
                  and h.valid_from <= '{day}' and (h.valid_to is null or h.valid_to > '{day}')
                where p.as_of = '{day}'
                """
            )
            column = pa.array([r["shown"] for r in rows], ARROW[tag.type])
            texts = as_text(as_kept(column, tag.log_bands)).to_pylist()
            wrong += [(day, name, r, t) for r, t in zip(rows, texts, strict=True) if r["value"] != t]
    return wrong


TRIED = ["lifecycle", "orders_7d", "net_amount_30d", "days_since_last_purchase", "preferred_brand", "last_purchase_day"]


def test_the_history_reproduces_every_snapshot(busy: Shop) -> None:
    assert history_differs(busy, list(DAYS), [*TRIED, "order_value_365d", "is_follower"]) == []


def test_only_dynamic_tags_have_a_process(busy: Shop) -> None:
    logged = {r["tag"] for r in busy.rows("select distinct tag from profile.tag_changes")}
    assert logged <= set(busy.catalogue.dynamic)
    assert "lifecycle" in logged
    assert not logged & {"gender", "points", "register_city"}


def test_a_number_that_ages_is_not_logged_every_day(busy: Shop) -> None:
    (aged,) = busy.rows(
        "select count(*) n from profile.tag_changes where tag = 'days_since_last_purchase' and from_day = ?", DAYS[1]
    )
    (buyers,) = busy.rows("select count(last_purchase_day) n from profile.profile where as_of = ?", DAYS[1])
    assert 0 < aged["n"] < buyers["n"] / 4


def test_breaks_are_the_quantiles_of_the_buyers(busy: Shop) -> None:
    rows = busy.rows("select * from profile.profile where as_of = ? and purchase_days_365d > 0", DAYS[-1])
    frozen = busy.rows("select * from profile.breaks where as_of = ? order by name, position", DAYS[-1])
    for name, tag in {
        "rfm_recency": "days_since_last_purchase",
        "rfm_frequency": "purchase_days_365d",
        "rfm_monetary": "net_amount_365d",
    }.items():
        values = np.array([r[tag] for r in rows], dtype=float)
        found = [f["number"] for f in frozen if f["name"] == name]
        assert found == pytest.approx(np.quantile(values, [0.2, 0.4, 0.6, 0.8]).tolist())
        assert found == list(quantiles(counted(values), (0.2, 0.4, 0.6, 0.8)))
        assert [f["number"] for f in frozen if f["name"] == f"{name}_mean"] == [pytest.approx(values.mean())]


def test_members_and_visitors_are_counted_apart(busy: Shop) -> None:
    rows = busy.rows(
        "select * from profile.tag_quality where as_of = ? and tag = 'gender' order by is_member", DAYS[-1]
    )
    people = busy.rows(
        "select is_member, count(*) n from profile.profile where as_of = ? group by 1 order by 1", DAYS[-1]
    )
    assert [(r["is_member"], r["base_users"]) for r in rows] == [(p["is_member"], p["n"]) for p in people]
    assert rows[0]["known_users"] == 0
    assert 0 < rows[1]["known_users"] < rows[1]["base_users"]


def test_quality_counts_users_whose_value_changed(busy: Shop) -> None:
    (counted_,) = busy.rows(
        "select sum(changed_users) n from profile.tag_quality where as_of = ? and tag = 'lifecycle'", DAYS[1]
    )
    (changed,) = busy.rows(
        "select count(*) n from profile.profile a join profile.profile b using (uid) "
        "where a.as_of = ? and b.as_of = ? and a.lifecycle <> b.lifecycle",
        DAYS[0],
        DAYS[1],
    )
    assert counted_["n"] == changed["n"] > 0


def test_running_a_day_again_changes_nothing(copy: Shop) -> None:
    before = contents(copy)
    copy.profile(DAYS[-1])
    copy.profile(DAYS[1])
    assert contents(copy) == before


def test_a_backfilled_day_repairs_the_changes_and_flows_of_the_next(copy: Shop) -> None:
    copy.profile("2026-03-29")
    flows = copy.rows("select distinct from_as_of from segments.segment_flows where as_of = '2026-03-30'")
    assert [str(f["from_as_of"]) for f in flows] == ["2026-03-29"]
    after = contents(copy)
    copy.profile("2026-03-30")
    assert contents(copy) == after
    assert history_differs(copy, [*DAYS, "2026-03-29"], TRIED) == []


def test_the_process_survives_the_snapshots_that_expire(copy: Shop) -> None:
    copy.profile("2026-03-31", keep_days=3)
    kept = [str(r["as_of"]) for r in copy.rows("select distinct as_of from profile.profile order by 1")]
    assert kept == ["2026-03-30", "2026-03-31"]
    assert {str(r["as_of"]) for r in copy.rows("select distinct as_of from segments.segments")} == set(kept)
    # 27 lies between snapshots that are gone: what was logged then is where 29 goes on from
    copy.profile("2026-03-29", keep_days=35)
    assert history_differs(copy, ["2026-03-29", "2026-03-30", "2026-03-31"], TRIED) == []


def test_a_bucket_reads_its_own_changes_of_the_days_between(tmp_path: Path) -> None:
    files = [
        ["2026-03-02", f"from_day=2026-03-02/{name}.parquet"] for name in ("bucket-0", "bucket-1", "bucket-10", "all")
    ]
    assert [Path(p).stem for _, p in log_of(files, 1)] == ["bucket-1", "all"]
    assert [Path(p).stem for _, p in log_of(files, 7)] == ["all"], "a file that names no bucket may hold any"
    item = {"bucket": 7, "slice": 3, "changes_out": str(tmp_path)}
    found = TwoSnapshots(pa.table({"uid": pa.array([700_001]), "is_member": [True], "tier": ["gold"]}), None)
    with _ChangesFile(item, "2026-03-02") as file:
        file.add(found.changes("tier", None, pa.string()))
    (written,) = tmp_path.rglob("*.parquet")
    named = BUCKET_FILE.fullmatch(written.name)
    assert named is not None and named[1] == "7", "the tasks name their files so"


def test_month_ends_are_kept() -> None:
    from datetime import timedelta

    days = {date(2026, 1, 1) + timedelta(days=i) for i in range(100)}
    gone = expired(days, date(2026, 4, 10), 35)
    kept = days - set(gone)
    assert {d for d in kept if d < date(2026, 3, 7)} == {date(2026, 1, 31), date(2026, 2, 28)}
    assert len([d for d in kept if d >= date(2026, 3, 7)]) == 35


def test_an_audit_that_fails_leaves_the_tables_as_they_were(copy: Shop) -> None:
    before = contents(copy)

    def refuse(staged: Mapping[str, Path], days: Days | None = None, /) -> None:
        assert set(staged) >= {"profile.profile", "segments.segments", "profile.breaks"}
        raise AuditError("profile.profile: a check failed")

    with pytest.raises(AuditError):
        copy.profile("2026-03-31", audit=refuse)
    assert contents(copy) == before


def test_a_model_is_fitted_once_and_refitted_on_purpose(copy: Shop) -> None:
    assert len(copy.rows("select * from profile.models")) == 1
    copy.profile("2026-03-31", refit=["spending_clusters"])
    versions = [r["model_version"] for r in copy.rows("select model_version from profile.models order by 1")]
    assert [v[:10] for v in versions] == [DAYS[0], "2026-03-31"]


def test_a_tag_added_later_is_null_before_and_one_removed_is_null_after(copy: Shop) -> None:
    tags = dict(copy.catalogue.tags)
    tags["orders_again"] = tags.pop("coupons_got_30d").model_copy(update={"id": "orders_again", "empty": 0})
    facts = dict(copy.catalogue.facts)
    facts["orders_again"] = facts.pop("coupons_got_30d")
    needs = {
        tuple("orders_again" if part == "coupons_got_30d" else part for part in node): frozenset(
            tuple("orders_again" if part == "coupons_got_30d" else part for part in n) for n in below
        )
        for node, below in copy.catalogue.needs.items()
    }
    order = tuple(tuple("orders_again" if p == "coupons_got_30d" else p for p in n) for n in copy.catalogue.order)
    expressions = {**copy.catalogue.expressions, "orders_again": ()}
    changed = dataclasses.replace(
        copy.catalogue, tags=tags, facts=facts, needs=needs, order=order, expressions=expressions
    )
    copy.profile("2026-03-31", catalogue=changed)
    rows = copy.rows(
        "select as_of, count(orders_again) added, count(coupons_got_30d) removed from profile.profile group by 1 order by 1"
    )
    assert [(r["added"] > 0, r["removed"] > 0) for r in rows] == [(False, True)] * 4 + [(True, False)]


def test_windows_longer_than_the_data_are_told(copy: Shop) -> None:
    report = copy.profile(DAYS[-1])
    assert any("tags look back 365 days, longer than the 120 days of data" in w for w in report.warnings)
    (days,) = copy.rows("select number from profile.breaks where name = 'observed_days' and as_of = ?", DAYS[-1])
    assert days["number"] == 120
