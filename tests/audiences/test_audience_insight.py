"""What an audience is like: overlaps and traits against SQL and sets, and the statistics against others' figures."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from typer.testing import CliRunner

from audiences.bit_slices import sliced
from audiences.bits import packed
from campaigns.learning import false_discovery
from cli import audience as verbs
from features.standing_out import chance_of_difference
from queries.audience_insight import AudienceProfile, Overlaps, audience_profile, overlaps
from schemas.errors import NotThereError
from tests.audiences.lake_shop import Shop
from tests.audiences.random_shop import HEAD, UIDS, random_shop

ALL_TOLD = "false_discovery: 1\nleast_users: 1\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = random_shop(tmp_path_factory.mktemp("insight") / "shop", rows=300)
    (made.folder / "audiences" / "built_before.yaml").unlink()
    for name, include in {
        "first": "{users: [" + ", ".join(f"m{u:06d}" for u in UIDS[:40]) + "]}",
        "again": "{users: [" + ", ".join(f"m{u:06d}" for u in UIDS[:38]) + "]}",
        "later": "{users: [" + ", ".join(f"m{u:06d}" for u in UIDS[30:70]) + "]}",
        "nobody": "{users: [m999999]}",
    }.items():
        made.define(name, f"{HEAD}include: {include}\n")
    made.define("beijing", f"{HEAD}include: {{tag: register_city, is: 北京}}\n")
    return made


def test_what_audiences_share_is_counted_and_the_nearly_same_are_named(shop: Shop) -> None:
    found: Overlaps = overlaps(shop.project, "first")
    by_name = {o.audience: o for o in found.others}
    assert found.others[0].audience == "again" and set(by_name) == {"again", "later", "nobody", "beijing"}
    again, later = by_name["again"], by_name["later"]
    assert (again.in_both, again.share_of_asked, again.share_of_other) == (38, 0.95, 1.0)
    assert (again.jaccard, again.is_nearly_same) == (0.95, True)
    assert (later.in_both, later.jaccard, later.is_nearly_same) == (10, 10 / 70, False)
    assert (by_name["nobody"].users, by_name["nobody"].is_nearly_same) == (0, False)


def test_an_audience_that_cannot_be_judged_says_why_and_stops_nothing(shop: Shop) -> None:
    shop.define("broken", f"{HEAD}include: {{audience: first, as_of: 2020-01-01}}\n")
    last = overlaps(shop.project, "first").others[-1]
    (shop.folder / "audiences" / "broken.yaml").unlink()
    assert last.audience == "broken" and "was not built by 2020-01-01" in (last.problem or "")


def told(shop: Shop, name: str, *tags: str, method: str = ALL_TOLD) -> AudienceProfile:
    (shop.folder / "methods").mkdir(exist_ok=True)
    (shop.folder / "methods" / "audiences.yaml").write_text(method, encoding="utf-8")
    return audience_profile(shop.project, name, tags=tags)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("register_city", "nullif(register_city, 'unknown')"),
        ("gender", "nullif(gender, 'unknown')"),
        ("was_invited", "was_invited::varchar"),
    ],
)
def test_shares_are_of_members_of_whom_the_tag_is_known(shop: Shop, tag: str, value: str) -> None:
    found = told(shop, "later", tag)
    uids = ", ".join(map(str, UIDS[30:70]))
    with duckdb.connect() as db:
        db.register("p", shop.lake.dataset("profile.profile"))
        expected = db.execute(
            f"""with m as (select {value} as v, uid in ({uids}) as mine from p where is_member)
            select v, count(*) filter (mine), count(*) filter (mine) / sum(count(*) filter (mine)) over (),
                count(*) / sum(count(*)) over () from m where v is not null group by v"""
        ).fetchall()
    shown = {t.value: (t.users, t.share, t.share_of_base) for t in found.traits}
    assert len(shown) == len(expected) > 1
    for v, users, share, of_base in expected:
        assert shown[v] == pytest.approx((users, share, of_base))


def test_bands_of_numbers_part_the_members_and_nobody_is_in_two(shop: Shop) -> None:
    found = told(shop, "first", "active_hour", "last_purchase_day")
    for tag, many in (("active_hour", 4), ("last_purchase_day", 3)):
        bands = [t for t in found.traits if t.tag == tag]
        assert len(bands) == many and sum(t.share_of_base for t in bands) == pytest.approx(1)
    assert found.looks == 7, "so many bought on the last day that two bands are one"


def test_what_defines_the_audience_stands_out_first_and_chance_does_not(shop: Shop) -> None:
    found = told(shop, "beijing", method="least_users: 5\n")
    assert (found.traits[0].tag, found.traits[0].value, found.traits[0].share) == ("register_city", "北京", 1.0)
    assert {t.tag for t in found.traits} == {"register_city"}
    assert found.looks > 15


def test_a_tag_that_is_none_is_told_with_the_nearest(shop: Shop) -> None:
    with pytest.raises(NotThereError, match="did you mean 'gender'"):
        told(shop, "first", "gendr")


def test_the_verbs_show_it(shop: Shop) -> None:
    app = typer.Typer()
    app.add_typer(verbs.audience, name="audience")
    shown = CliRunner().invoke(app, ["audience", "overlap", "first", "-p", str(shop.folder)]).output
    assert "40 users" in shown and "nearly the same" in shown
    (shop.folder / "methods" / "audiences.yaml").write_text("least_users: 5\n")
    shown = CliRunner().invoke(app, ["audience", "profile", "beijing", "-p", str(shop.folder)]).output
    assert "register_city" not in shown and "注册城市" in shown and "stand out" in shown


def test_false_discoveries_of_the_published_example() -> None:
    """Benjamini and Hochberg 1995, section 4.1: of 15 looks four are findings at 5 %, where Bonferroni has three."""
    p = [.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .3240, .4262, .5719, .6528, .7590, 1.0]  # fmt: skip
    q = false_discovery(p[::-1])[::-1].tolist()
    assert sum(x <= 0.05 for x in q) == 4
    assert q == sorted(q)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_chance_of_a_difference_is_that_of_a_table_of_four(some: int, others: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, some)), data.draw(st.integers(0, others))
    found = chance_of_difference(a, some, b, others)
    if 0 < a + b < some + others:
        assert found == pytest.approx(chi2_contingency([[a, some - a], [b, others - b]], correction=False).pvalue)
    else:
        assert found == 1.0


@given(st.lists(st.one_of(st.none(), st.integers(-20, 20)), max_size=150), st.integers(2, 6))
def test_quantiles_are_those_of_the_sorted_values(values: list[int | None], parts: int) -> None:
    known = np.array([v is not None for v in values], np.bool_)
    among = np.arange(len(values)) % 3 != 0
    column = sliced(np.array([v or 0 for v in values], np.int64), known)
    ordered = sorted(v for v, there in zip(values, among, strict=True) if v is not None and there)
    expected = sorted({ordered[len(ordered) * i // parts] for i in range(1, parts)} - {ordered[0]}) if ordered else []
    assert column.quantiles(packed(among), parts) == expected
