"""What a campaign may say, and what one is told who says it wrong."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from campaigns.language import (
    ABOVE,
    HELD_OUT,
    Campaign,
    campaign_named,
    mistakes_among,
    read_campaign,
    read_campaigns,
    refuse_past,
)
from campaigns.metrics import METRICS
from schemas.behaviours import BEHAVIOURS
from schemas.errors import ConfigurationError, NotThereError
from tests.test_architecture import ROOT

TEXT = """\
name: {zh: 春季, en: Spring}
description: {zh: 春季活动, en: The spring campaign}
owner: crm
goal: {money: 1000}
d_day: 2026-04-18
arms:
  coupon: {weight: 3}
  message: {weight: 1}
holdout: 0.2
stages:
  grow:
    audiences: [beijing]
    channels: [app]
    content:
      beijing: {zh: 加购, en: Cart}
  harvest:
    audiences: [beijing]
    channels: [app]
    content: {beijing: {zh: 下单, en: Buy}}
    metrics: [{metric: buyers, target: 10}]
"""


def campaign(folder: Path, text: str = TEXT, name: str = "spring") -> Campaign:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return read_campaign(path)


def refused(folder: Path, old: str, new: str) -> str:
    assert old in TEXT
    with pytest.raises(ConfigurationError) as e:
        campaign(folder, TEXT.replace(old, new))
    return str(e.value)


def test_stages_have_their_days_around_d_day_and_arms_their_shares(tmp_path: Path) -> None:
    d = campaign(tmp_path).definition
    assert d.days("grow") == (date(2026, 4, 3), date(2026, 4, 17))
    assert d.days("harvest") == (date(2026, 4, 18), date(2026, 4, 18))
    assert d.weights == {HELD_OUT: 0.2, "coupon": pytest.approx(0.6), "message": pytest.approx(0.2)}
    assert sum(d.weights.values()) == pytest.approx(1)
    assert d.last_day == date(2026, 4, 18)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("owner: crm", "owner: crm\nchannel: app", "spring.yaml:4: unknown key 'channel'"),
        ("  grow:", "  growth:", "unknown key 'stages.growth'; did you mean 'grow'?"),
        ("metric: buyers", "metric: buyer", "spring.yaml:20: stages.harvest.metrics.0.metric: no metric 'buyer'; did"),
        (
            "goal: {money: 1000}",
            "goal: {money: 1000, users: 5}",
            "spring.yaml:4: goal: a goal is either money or users",
        ),
        ("holdout: 0.2", "holdout: 1", "spring.yaml:9: holdout: Input should be less than 1"),
        ("d_day: 2026-04-18\n", "", "'d_day' is missing"),
        ("coupon: {weight: 3}", "holdout: {weight: 3}", "arm 'holdout' is the name of who gets nothing"),
        ("weight: 3}\n  message: {weight: 1}", "weight: 0}", "no arm has a weight above 0"),
        ("      beijing: {zh: 加购, en: Cart}", "      bejing: {zh: 加购, en: Cart}", "did you mean 'beijing'?"),
        ("content: {beijing: {zh: 下单, en: Buy}}", "content: {}", "audience 'beijing' has no content"),
        ("{zh: 春季, en: Spring}", "{zh: 春季, en: ' '}", "en is empty; say it in both languages"),
        (
            "audiences: [beijing]\n    channels: [app]\n    content:\n",
            "audiences: [beijing, beijing]\n    channels: [app]\n    content:\n",
            "'beijing' stands twice",
        ),
    ],
)
def test_a_mistake_names_file_line_and_what_was_meant(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in refused(tmp_path, old, new)


def test_stages_that_share_days_need_a_priority_each(tmp_path: Path) -> None:
    later = TEXT.replace("  harvest:\n", "  harvest:\n    days: {first: -2, last: 0}\n")
    with pytest.raises(ConfigurationError, match=re.escape("stages grow (D-15 to D-1) and harvest (D-2 to D+0) share")):
        campaign(tmp_path, later)
    ranked = later.replace("  harvest:\n", "  harvest:\n    priority: 1\n").replace(
        "  grow:\n", "  grow:\n    priority: 2\n"
    )
    assert campaign(tmp_path, ranked).definition.in_turn == ["harvest", "grow"]
    with pytest.raises(ConfigurationError, match="share days"):
        campaign(tmp_path, ranked.replace("priority: 2", "priority: 1"))


def test_an_unknown_audience_is_named_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    found = campaign(tmp_path)
    assert mistakes_among(found, {"beijing": 1}) == []
    first = mistakes_among(found, {"beijing_all": 1})[0]
    assert first.endswith("spring.yaml:12: stages.grow.audiences: no audience 'beijing'; did you mean 'beijing_all'?")
    assert "none is defined yet" in mistakes_among(found, {})[0]


def test_a_d_day_that_is_over_is_refused(tmp_path: Path) -> None:
    found = campaign(tmp_path)
    refuse_past(found, date(2026, 4, 17))
    with pytest.raises(ConfigurationError, match=r"spring\.yaml:5: d_day 2026-04-18 is not after 2026-04-18"):
        refuse_past(found, date(2026, 4, 18))


def test_the_mistakes_of_all_files_are_told_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("name: {}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as e:
        read_campaigns(sorted(tmp_path.glob("*.yaml")))
    assert "one.yaml:1" in str(e.value) and "two.yaml:1" in str(e.value)
    with pytest.raises(ConfigurationError, match="the file's name is the campaign's id"):
        campaign(tmp_path, name="Spring-26")


def test_a_campaign_that_is_not_there_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match="did you mean 'spring'"):
        campaign_named({"spring": campaign(tmp_path)}, "sprung")


def test_the_hash_moves_with_the_definition_and_with_nothing_else(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    assert campaign(tmp_path, "# a remark\n" + TEXT).hash == one.hash
    assert campaign(tmp_path, TEXT.replace("holdout: 0.2", "holdout: 0.3")).hash != one.hash
    assert campaign(tmp_path, name="other").salt != one.salt


def test_metrics_are_of_behaviours_that_there_are_and_the_examples_speak_to_the_examples_audiences() -> None:
    assert {b for m in METRICS.values() for b in m.behaviours} <= set(BEHAVIOURS)
    shipped = read_campaigns(sorted((ROOT / "conf" / "campaigns").glob("*.yaml")))
    audiences = {p.stem: p for p in (ROOT / "conf" / "audiences").glob("*.yaml")}
    assert "beijing_shiseido" in shipped
    assert [m for c in shipped.values() for m in mistakes_among(c, audiences)] == []
    assert ABOVE not in shipped["beijing_shiseido"].definition.weights
