"""``huaxiang campaign learn`` over a lake: what was planted is found, proposed as an audience that can be read, and kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from audiences.language import read
from campaigns.language import HELD_OUT
from cli import campaign as verbs
from jobs.campaigns.assign import assign_arms
from jobs.campaigns.learn import LEARNT, LEARNT_PAIRS, learn
from queries.preview import preview
from schemas.errors import NotThereError
from tests.audiences.lake_shop import Shop, act
from tests.campaigns.campaign_shop import END, SPRING, START, UIDS, campaign_shop, define, people, users
from tests.campaigns.test_campaign_jobs import arms, sql

CITIES = ("北京", "上海")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Women who get something buy three times as often as anybody else; the campaign does nothing to men."""
    shop = campaign_shop(tmp_path_factory.mktemp("template") / "shop")
    define(shop, SPRING.replace("window_days: 20", "window_days: 20\noutcome: converted"))
    (shop.folder / "methods").mkdir()
    (shop.folder / "methods" / "campaigns.yaml").write_text("least_value_users: 20\n", encoding="utf-8")
    assign_arms(shop.project, "spring", which=str(START))
    given, rng = arms(shop), np.random.default_rng(4)
    rows = []
    for u in UIDS:
        moved = given[u] != HELD_OUT and u % 3 != 0
        if rng.random() < (0.6 if moved else 0.2):
            rows.append(act(u, START + timedelta(5), "pay", order_key=u, quantity=1, amount_minor=100))
    shop.activity(rows)
    # By the end everybody is said to be a man: tags of the day of the assignment count.
    shop.release(END, [{**p, "gender": "male"} for p in people()], number=2)
    return shop.folder


def test_the_value_that_was_moved_is_found_with_its_numbers(shop: Shop) -> None:
    found = learn(shop.project, "spring")
    given = arms(shop)
    women = [u for u in UIDS if u % 3 != 0]
    by_value = {(v.tag, v.value): v for v in found.values}
    assert set(by_value) == {("gender", "female"), ("gender", "male")}, "a tag that all share tells nobody apart"
    female = by_value["gender", "female"]
    assert female.users == sum(given[u] != HELD_OUT for u in women)
    assert female.held_users == sum(given[u] == HELD_OUT for u in women)
    assert [(v.tag, v.value) for v in found.found] == [("gender", "female")]
    assert found.own_lift is not None and found.own_lift < female.shrunk_lift <= female.difference
    rows = sql(shop, LEARNT, "select tag, value, users, is_found from t order by all")
    assert rows == [
        ("gender", "female", female.users, True),
        ("gender", "male", by_value["gender", "male"].users, False),
    ]
    assert found.without_tags == 0 and found.users == len(UIDS)


def test_what_is_found_becomes_an_audience_once_and_stays_the_shops_own(shop: Shop) -> None:
    assert learn(shop.project, "spring").proposal is None
    path = learn(shop.project, "spring", save=True).proposal
    assert path is not None and path.name == "learnt_spring.yaml"
    audience = read(path)
    assert audience.content["include"] == {"any": [{"tag": "gender", "is": ["female"]}]}
    assert "expected lift 0." in path.read_text(encoding="utf-8")
    assert preview(shop.project, "learnt_spring", which=str(START)).users == sum(u % 3 != 0 for u in UIDS)
    changed = path.read_text(encoding="utf-8") + "# mine\n"
    path.write_text(changed, encoding="utf-8")
    learn(shop.project, "spring", save=True)
    assert path.read_text(encoding="utf-8") == changed


@pytest.fixture
def paired(tmp_path: Path) -> Shop:
    """What is sent moves women in Beijing, and nobody else; every other user lives in Shanghai."""
    shop = campaign_shop(tmp_path / "shop")
    define(shop, SPRING.replace("window_days: 20", "window_days: 20\noutcome: converted"))
    (shop.folder / "methods").mkdir()
    (shop.folder / "methods" / "campaigns.yaml").write_text("least_value_users: 10\n", encoding="utf-8")
    shop.release(START, [{**p, "register_city": CITIES[p["uid"] % 2]} for p in people()], number=2)
    assign_arms(shop.project, "spring", which=str(START))
    given, rng = arms(shop), np.random.default_rng(6)
    rows = []
    for u in UIDS:
        moved = given[u] != HELD_OUT and u % 3 != 0 and u % 2 == 0
        if rng.random() < (0.9 if moved else 0.1):
            rows.append(act(u, START + timedelta(5), "pay", order_key=u, quantity=1, amount_minor=100))
    shop.activity(rows)
    shop.release(END, people(), number=3)
    return shop


def test_a_pair_of_values_that_was_moved_together_is_found_with_its_numbers_and_proposed(paired: Shop) -> None:
    found = learn(paired.project, "spring", save=True)
    given, bought = arms(paired), {r[0] for r in sql(paired, "activity.activity", "select distinct uid from t")}

    def share(women: bool, beijing: bool, held: bool) -> float:
        mine = [u for u in UIDS if (u % 3 != 0, u % 2 == 0, given[u] == HELD_OUT) == (women, beijing, held)]
        return sum(u in bought for u in mine) / len(mine)

    lift = {(w, b): share(w, b, False) - share(w, b, True) for w in (True, False) for b in (True, False)}
    (pair,) = found.found_pairs
    assert (pair.tag, pair.value, pair.other_tag, pair.other_value) == ("gender", "female", "register_city", "北京")
    assert pair.difference == pytest.approx(lift[True, True])
    beyond = lift[True, True] - lift[True, False] - lift[False, True] + lift[False, False]
    assert pair.interaction == pytest.approx(beyond) and 0 < pair.shrunk_interaction <= beyond
    assert (set(found.paired_tags), found.unpaired_tags, len(found.pairs)) == ({"gender", "register_city"}, 0, 4)
    rows = sql(paired, LEARNT_PAIRS, "select value, other_value, is_found, round(interaction, 9) from t where is_found")
    assert rows == [("female", "北京", True, round(beyond, 9))]
    assert found.proposal is not None
    include = read(found.proposal).content["include"]["any"]
    assert include[-1] == {"all": [{"tag": "gender", "is": ["female"]}, {"tag": "register_city", "is": ["北京"]}]}
    assert preview(paired.project, "learnt_spring", which=str(START)).users >= sum(u % 6 in (2, 4) for u in UIDS)


def test_pairs_beyond_the_bound_are_left_out_and_counted(paired: Shop) -> None:
    (paired.folder / "methods" / "campaigns.yaml").write_text(
        "least_value_users: 10\nmost_pairs: 0\n", encoding="utf-8"
    )
    found = learn(paired.project, "spring")
    assert (found.pairs, found.paired_tags, found.unpaired_tags) == ((), (), 2) and found.values
    app = typer.Typer()
    app.add_typer(verbs.campaign, name="campaign")
    said = CliRunner().invoke(app, ["campaign", "learn", "spring", "--project", str(paired.folder)]).output
    assert "成对 Pairs" in said and "2 left out (most_pairs in methods/campaigns.yaml)" in said


def test_nothing_is_found_in_arms_that_are_not_what_was_assigned(shop: Shop) -> None:
    rows = sql(shop, "campaigns.assignments", "select * from t where arm != 'coupon' or uid % 4 = 0")
    names = shop.lake.schema("campaigns.assignments").names
    shop.put("campaigns.assignments", [dict(zip(names, r, strict=True)) for r in rows])
    found = learn(shop.project, "spring")
    assert found.values and not found.found
    assert "do not have the users that their weights say" in found.warnings[0]


def test_a_window_that_runs_is_told(shop: Shop) -> None:
    shop.release(START + timedelta(6), people())
    found = learn(shop.project, "spring", which=str(START + timedelta(6)))
    assert found.warnings == ("the last window ends on 2026-03-30, after 2026-03-16: this is what was seen so far",)


def test_people_whose_tags_lie_elsewhere_are_counted_and_left_out(shop: Shop) -> None:
    younger = next(u for u in arms(shop) if u > 100_000)
    shop.put("identity.users", users({younger: 3}))
    kept = [r for r in sql(shop, "campaigns.assignments", "select * from t") if 3 not in r]
    names = shop.lake.schema("campaigns.assignments").names
    shop.put("campaigns.assignments", [dict(zip(names, r, strict=True)) for r in kept])
    shop.release(END, people(without=[younger]), number=3)
    found = learn(shop.project, "spring")
    assert (found.without_tags, found.users) == (1, len(UIDS) - 2)
    assert "1 people have no tags of the day" in found.warnings[0]


def test_nobody_assigned_is_said_and_words_are_in_both_languages(shop: Shop) -> None:
    app = typer.Typer()
    app.add_typer(verbs.campaign, name="campaign")

    def typed(*words: str) -> Any:
        return CliRunner().invoke(app, ["campaign", "learn", *words, "--project", str(shop.folder)])

    said = typed("spring").output
    assert "转化率 share of users who bought by value of tags" in said and "--save proposes them" in said
    define(shop, SPRING, "summer")
    assert typed("summer").exit_code == 7
    with pytest.raises(NotThereError, match="campaign assign summer"):
        learn(shop.project, "summer")
