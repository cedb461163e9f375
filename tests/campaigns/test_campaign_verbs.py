"""``huaxiang campaign`` as it is typed: words for people, JSON for machines, and exit codes."""

from __future__ import annotations

import json
from typing import Any

import typer
from typer.testing import CliRunner

from cli import campaign as verbs
from tests.audiences.lake_shop import Shop
from tests.campaigns.campaign_shop import END, SPRING, START, define

app = typer.Typer()
app.add_typer(verbs.campaign, name="campaign")


def typed(shop: Shop, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["campaign", *words, "--project", str(shop.folder)])
    assert done.exit_code == code, done.output
    return done.output


def as_json(shop: Shop, *words: str, code: int = 0) -> Any:
    return json.loads(typed(shop, *words, "--json", code=code))


def test_the_way_from_check_to_results(shop: Shop) -> None:
    assert as_json(shop, "check")["campaigns"][0]["stages"] == ["长草 grow", "拔草 harvest"]
    at = ("--release", str(START))
    assert sum(as_json(shop, "assign", "spring", *at, "--dry-run")["added"].values()) == 400
    assert sum(as_json(shop, "assign", "spring", *at)["users"].values()) == 400
    assert sum(as_json(shop, "assign", "spring", *at)["added"].values()) == 0
    assert len(as_json(shop, "results", "spring")["arms"]) == 6


def test_people_read_both_languages(shop: Shop) -> None:
    at = ("--release", str(START))
    assert "Spring" in typed(shop, "check")
    assigned = typed(shop, "assign", "spring", *at)
    assert "留出组 held out" in assigned and "400 added; nobody moved" in " ".join(assigned.split())
    define(shop, SPRING + "smallest_lift: 0.5\n")
    said = typed(shop, "results", "spring", "--release", str(END))
    assert "功效 power " in said
    assert "人均净成交额 net money a user *" in said
    assert "方差缩减 less variance %" in said
    assert "coupon: " in said and "样本比例检验 sample ratio p" in said
    assert "加购人数 people with something in the cart" in said


def test_mistakes_end_with_their_codes(shop: Shop) -> None:
    assert as_json(shop, "plan", "sprung", code=7)["error"] == "NotThereError"
    assert "is not after 2026-05-10" in as_json(shop, "plan", "spring", code=3)["message"]
    assert as_json(shop, "assign", "spring", code=1)["error"] == "HuaxiangError"
    assert as_json(shop, "assign", "spring", "--stage", "seed", code=2)["error"] == "UsageError"
    assert as_json(shop, "results", "spring", code=7)["error"] == "NotThereError"
    define(shop, SPRING.replace("owner:", "ownr:"))
    found = as_json(shop, "check", code=3)
    assert "spring.yaml:3: unknown key 'ownr'; did you mean 'owner'?" in "".join(found["mistakes"])
    assert "2 mistakes." in typed(shop, "check", code=3)
