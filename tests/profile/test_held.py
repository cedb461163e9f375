"""Tags whose owners ask for it (``on_break: hold``) keep their last good values until they come back; kept numbers."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from features.quality import QualitySettings
from jobs.identity.step import update_identity
from jobs.profile.accept import accept as step
from lake.engine import Engine
from lake.publish import publish
from project.frozen import NOT_KEPT
from schemas.errors import NotThereError
from tests.profile.conftest import Shop
from tests.profile.small import catalogue_of
from tests.silver import at

pytestmark = pytest.mark.slow

QUALITY = QualitySettings(min_users=20, min_runs=1)
HOLD = {"points": {"on_break": "hold"}, "city": {"on_break": "hold"}}
D1, D2, D3, D4, D5 = (f"2026-03-0{i}" for i in range(1, 6))


def versions(day: str, people: range, factor: int, city: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "member_id": f"m{n:02d}",
            "registered_at": at("2026-02-01 10:00"),
            "source_time": at(f"{day} 10:00"),
            "points": (n + 1) * 10 * factor,
            "city": ("北京", "上海")[n % 2] if city else None,
        }
        for n in people
    ]


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Shop:
    """Sixty members whose points are sent a thousandfold and without cities on the third day, and mended on the fifth."""
    shop = Shop(
        tmp_path_factory.mktemp("feed") / "lake", embedded, catalogue_of(tmp_path_factory.mktemp("tags"), **HOLD)
    )
    rows = versions("2026-02-20", range(60), 1)
    rows += versions(D3, range(60), 1000, city=False)
    late = [*versions(D3, range(60, 61), 1000), *versions(D5, range(60, 61), 1)]
    rows += [r | {"registered_at": at(f"{D3} 10:00")} for r in late]
    shop.write("members", *rows, *versions(D5, range(60), 1))
    update_identity(shop.lake, embedded, date(2026, 3, 5), "i", "salt")
    return shop


@pytest.fixture(scope="module")
def held(feed: Shop) -> Shop:
    for day in (D1, D2, D3, D4, D5):
        feed.profile(day, quality=QUALITY)
    return feed


def columns(shop: Shop, day: str) -> dict[int, tuple[Any, ...]]:
    rows = shop.rows("select uid, points, city, rich, richer from profile.profile where as_of = ?", day)
    return {r["uid"]: tuple(r.values())[1:] for r in rows}


def quality(shop: Shop, day: str, tag: str) -> dict[str, Any]:
    (row,) = shop.rows("select * from profile.tag_quality where as_of = ? and tag = ? and is_member", day, tag)
    return row


def test_a_held_column_keeps_its_last_good_values_and_who_is_new_is_unknown(held: Shop) -> None:
    good = columns(held, D2)
    for day in (D3, D4):
        now = columns(held, day)
        (new,) = set(now) - set(good)
        assert {u: v for u, v in now.items() if u != new} == good
        assert now[new] == (None, "unknown", "no", None)


def test_the_quality_row_shows_what_the_values_would_have_been(held: Shop) -> None:
    for day in (D3, D4):
        for tag in ("points", "city"):
            row = quality(held, day, tag)
            assert (str(row["held_since"]), row["verdict"], row["known_users"]) == (D3, "act", 60)
            assert row["psi"] > 1
        for tag in ("rich", "richer"):
            # they are computed from the values that are held, numbers too
            row = quality(held, day, tag)
            assert (row["held_since"], row["verdict"]) == (None, "stable")
    rows = held.rows("select * from profile.tag_distribution where as_of = ? and tag = 'points'", D3)
    before = held.rows("select * from profile.tag_distribution where as_of = ? and tag = 'points'", D2)
    assert {r["bin"]: r["users"] for r in rows} == {r["bin"]: r["users"] for r in before} | {"unknown": 1}
    medians = held.rows("select as_of, number from profile.breaks where name = 'points_median' order by 1")
    assert [m["number"] for m in medians] == [305, 305, 305, 305, 310]


def test_history_and_flows_are_those_of_the_published_column(held: Shop) -> None:
    changes = held.rows("select from_day, tag, count(*) n from profile.tag_changes group by all order by 1, 2")
    assert [(str(c["from_day"]), c["tag"], c["n"]) for c in changes] == [
        (D1, "city", 60),
        (D1, "points", 60),
        (D1, "rich", 60),
        (D1, "richer", 60),
        (D3, "rich", 1),
        (D5, "city", 1),
        (D5, "points", 1),
        # the member on the median, which moved, and the one who is new
        (D5, "rich", 2),
        (D5, "richer", 1),
    ]
    flows = held.rows(
        "select from_segment, to_segment, users from segments.segment_flows where as_of = ? order by 1, 2", D3
    )
    assert [tuple(f.values()) for f in flows] == [("NEW", "no", 1), ("no", "no", 30), ("yes", "yes", 30)]


def test_a_tag_that_comes_back_within_its_limit_is_released(held: Shop) -> None:
    for tag in ("points", "city"):
        row = quality(held, D5, tag)
        assert (row["held_since"], row["verdict"], row["known_users"]) == (None, "stable", 61)
    assert {v[0] for v in columns(held, D5).values()} == {10 * (n + 1) for n in range(61)}


@pytest.fixture
def copy(held: Shop, tmp_path: Path) -> Shop:
    shutil.copytree(held.lake.root, tmp_path / "lake")
    return Shop(tmp_path / "lake", held.engine, held.catalogue)


def test_the_report_says_what_is_held_and_repeating_the_day_changes_nothing(copy: Shop) -> None:
    before = columns(copy, D4)
    report = copy.profile(D4, quality=QUALITY)
    assert {n: str(d) for n, d in report.held.items()} == {"points": D3, "city": D3}
    (told,) = [w for w in report.warnings if "held" in w]
    assert told.startswith("2 tags are held by the owner's wish (on_break: hold): ")
    assert f"points since {D3} with the values of {D2}: PSI " in told
    assert f"city since {D3} with the values of {D2}: coverage 1.6% below its limit 30.0%" in told
    assert "2 tags are made from them, among them the segmentations rich. `huaxiang tag accept --all`" in told
    assert columns(copy, D4) == before
    again = " ".join(copy.profile(D5, quality=QUALITY).warnings)
    assert f"2 tags are published again: city (held since {D3}), points (held since {D3})" in again
    assert "by default" not in again


def test_raising_a_tags_version_accepts_the_new_level_at_once(copy: Shop, tmp_path: Path) -> None:
    report = copy.profile(
        D4,
        quality=QUALITY,
        catalogue=catalogue_of(tmp_path, points={"version": 2, "on_break": "hold"}, city=HOLD["city"]),
    )
    assert set(report.held) == {"city"}
    assert max(v[0] for v in columns(copy, D4).values()) == 610_000
    assert quality(copy, D4, "points")["verdict"] == "first"


def accept(shop: Shop, tag: str | None) -> list[str]:
    project: Any = SimpleNamespace(lake=shop.lake, catalogue=shop.catalogue)
    return [a.tag for a in step(project, tag, accepted_by="li").accepted if not a.already]


def test_an_accepted_level_is_published_by_the_next_run_or_by_the_day_run_again(copy: Shop) -> None:
    copy.profile(D4, quality=QUALITY)
    for table in ("profile.profile", "profile.tag_quality"):
        forget(copy, table, D5)
    assert accept(copy, "points") == ["points"]
    assert accept(copy, "points") == []
    assert set(copy.profile(D4, quality=QUALITY).held) == {"city"}
    assert max(v[0] for v in columns(copy, D4).values()) == 610_000
    assert quality(copy, D4, "points")["held_by"] is None
    # what was accepted is what the next run is compared with: points go back, cities come back to what they were
    copy.profile(D5, quality=QUALITY)
    found = {tag: quality(copy, D5, tag) for tag in ("points", "city")}
    assert {tag: str(r["compared_with"]) for tag, r in found.items()} == {"points": D4, "city": D2}
    assert found["points"]["psi"] > 1 > found["city"]["psi"]


def test_everything_made_from_a_held_tag_is_marked(held: Shop) -> None:
    marked = {str(r["as_of"]): {} for r in held.rows("select distinct as_of from profile.tag_quality")}
    for r in held.rows("select as_of, tag, held_by from profile.tag_quality where held_by is not null and is_member"):
        marked[str(r["as_of"])][r["tag"]] = r["held_by"]
    on_hold = {"points": "points", "rich": "points", "richer": "points", "city": "city"}
    assert marked == {D1: {}, D2: {}, D3: on_hold, D4: on_hold, D5: {}}


def test_what_an_earlier_default_held_is_published_by_the_next_run_and_said(copy: Shop, tmp_path: Path) -> None:
    told = catalogue_of(tmp_path)
    forget(copy, "profile.profile", D5)
    report = copy.profile(D5, quality=QUALITY, catalogue=told)
    assert report.held == {}
    (said,) = [w for w in report.warnings if "published again" in w]
    assert f"points (held since {D3})" in said and "by default before" in said
    # the day itself, run again, says so too
    again = copy.profile(D4, quality=QUALITY, catalogue=told)
    assert again.held == {} and any("2 tags are published again" in w for w in again.warnings)
    assert max(v[0] for v in columns(copy, D4).values()) == 610_000


def test_small_shops_and_long_gaps_hold_nothing(copy: Shop) -> None:
    assert copy.profile(D3).held == {}, "61 members are fewer than 500"
    assert copy.profile(D3, quality=QUALITY).held != {}
    assert copy.profile("2026-03-12", quality=QualitySettings(min_users=20, max_gap_days=6, min_runs=1)).held == {}


def forget(shop: Shop, table: str, day: str) -> None:
    """The day's slice leaves the table."""
    key = f"forget-{table}-{day}"
    folder = shop.lake.stage(table, key)
    publish(
        shop.lake, table, folder, replace=[{"as_of": date.fromisoformat(day)}], read_version=None, run_id=key, key=key
    )
    shop.changed()


# --- kept numbers ---


def kept(shop: Shop) -> list[tuple[str, float, str]]:
    rows = shop.rows("select * from profile.breaks where name = 'kept_median' order by as_of")
    return [(str(r["as_of"]), r["number"], str(r["fitted_on"])) for r in rows]


def test_a_kept_break_is_made_once_and_anew_on_purpose(copy: Shop) -> None:
    assert [(n, f) for _, n, f in kept(copy)] == [(305, D1)] * 5
    copy.profile(D5, quality=QUALITY, refit=["kept_median"])
    assert kept(copy)[-1] == (D5, 310, D5)
    copy.profile("2026-03-06", quality=QUALITY)
    assert kept(copy)[-1] == ("2026-03-06", 310, D5)
    # a day before goes by what was fitted by then, one before all by the oldest fitted after it
    copy.profile(D4, quality=QUALITY)
    assert kept(copy)[3] == (D4, 305, D1)
    copy.profile("2026-02-27", quality=QUALITY)
    assert kept(copy)[0] == ("2026-02-27", 305, D1)
    with pytest.raises(NotThereError, match="did you mean 'kept_median'"):
        copy.profile(D5, refit=["kept_medain"])


def test_a_kept_number_has_the_sample_of_its_fit(copy: Shop) -> None:
    copy.profile(D5, quality=QUALITY, refit=["kept_median"])
    rows = copy.rows("select * from profile.breaks where name = 'kept_median' order by as_of")
    samples: dict[str, set[tuple[str, int]]] = {str(r["fitted_on"]): set() for r in rows}
    for r in rows:
        samples[str(r["fitted_on"])].add((r["basis"], r["sample_users"]))
    assert {f: len(found) for f, found in samples.items()} == {D1: 1, D5: 1}
    assert {basis for found in samples.values() for basis, _ in found} == {"users"}
    assert all(n for found in samples.values() for _, n in found)


def test_numbers_of_too_few_users_are_made_again_and_another_declaration_has_its_own(
    copy: Shop, tmp_path: Path
) -> None:
    few = {"kept_median": {"of": "points", "statistic": "median", "keep": True, "min_users": 100}}
    copy.profile("2026-03-06", quality=QUALITY, catalogue=catalogue_of(tmp_path, breaks=few))
    # who is fewer than asked for now were enough for the numbers stored
    assert kept(copy)[-1] == ("2026-03-06", 305, D1)
    most = {"kept_median": {"of": "points", "statistic": "max", "keep": True, "min_users": 100}}
    for day in ("2026-03-07", "2026-03-08"):
        copy.profile(day, quality=QUALITY, catalogue=catalogue_of(tmp_path, breaks=most))
        assert kept(copy)[-1] == (day, 610, day)
    specs = copy.rows(
        "select spec from profile.breaks where name = 'kept_median' and as_of > '2026-03-05' order by as_of"
    )
    assert [s["spec"].endswith(NOT_KEPT) for s in specs] == [False, True, True]


def test_what_is_made_while_its_tag_is_held_counts_for_that_day_only(copy: Shop, tmp_path: Path) -> None:
    top = {"kept_median": {"of": "points", "statistic": "max", "keep": True, "min_users": 10}}
    groups = {"inputs": ["points"], "where": "points > 0", "k": [2, 3], "sample": 100, "min_users": 20}
    models = {"groups": {"kind": "kmeans", **groups, "bootstraps": 2, "seed": 1}}
    later = catalogue_of(tmp_path, breaks=top, models=models, **HOLD)
    forget(copy, "profile.profile", D5)
    forget(copy, "profile.tag_quality", D5)
    report = copy.profile(D4, quality=QUALITY, catalogue=later)
    assert set(report.held) == {"points", "city"}
    assert kept(copy)[3] == (D4, 600, D4)
    assert copy.rows("select * from profile.models") == []
    told = [
        w for w in report.warnings if w.startswith("made from held values and for this day only: kept_median, groups;")
    ]
    assert len(told) == 1
    # points are free on the fifth: both are made from what is published, and are kept from then on
    free = copy.profile(D5, quality=QUALITY, catalogue=later)
    assert free.held == {}
    assert kept(copy)[4] == (D5, 610, D5)
    assert [str(r["as_of"]) for r in copy.rows("select as_of from profile.models")] == [D5]
    assert not any("made from held values" in w for w in free.warnings)
    copy.profile("2026-03-06", quality=QUALITY, catalogue=later)
    assert kept(copy)[5] == ("2026-03-06", 610, D5)
    assert len(copy.rows("select * from profile.models")) == 1


def test_a_refit_while_its_tag_is_held_leaves_what_was_kept(copy: Shop) -> None:
    report = copy.profile(D4, quality=QUALITY, refit=["kept_median"])
    assert any("for this day only: kept_median;" in w for w in report.warnings)
    assert kept(copy)[3] == (D4, 305, D4)
    copy.profile(D5, quality=QUALITY)
    assert kept(copy)[4] == (D5, 305, D1)
