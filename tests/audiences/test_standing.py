"""Drafts, pauses, expiry and rhythm: what is built and delivered on which day, and what is said of the rest."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from audiences.language import definition_hash, read_text
from audiences.life import due_since, longest_gap, next_due, not_due, out_of_use
from cli.status import status as status_verb
from project.audience_tables import deliveries
from project.check import check_tags
from project.folder import Project
from queries.status import status
from schemas.errors import ConfigurationError
from tests.audiences.lake_shop import BEIJING, D, Shop, people
from tests.audiences.test_audience_verbs import as_json, typed

RHYTHMS = st.one_of(
    st.just("daily"),
    st.sampled_from(("monday", "thursday", "sunday")).map("weekly on {}".format),
    st.integers(1, 31).map("monthly on {}".format),
)
DAYS = st.dates(date(2023, 1, 1), date(2029, 12, 31))


@pytest.mark.parametrize(
    ("rhythm", "day", "since", "following"),
    [
        (None, "2026-03-10", "2026-03-10", "2026-03-11"),
        ("daily", "2026-03-10", "2026-03-10", "2026-03-11"),
        ("weekly on tuesday", "2026-03-10", "2026-03-10", "2026-03-17"),
        ("weekly on monday", "2026-03-10", "2026-03-09", "2026-03-16"),
        ("weekly on sunday", "2026-03-10", "2026-03-08", "2026-03-15"),
        ("monthly on 15", "2026-03-10", "2026-02-15", "2026-03-15"),
        ("monthly on 31", "2026-03-10", "2026-02-28", "2026-03-31"),
        ("monthly on 30", "2028-03-01", "2028-02-29", "2028-03-30"),
        ("monthly on 1", "2026-01-01", "2026-01-01", "2026-02-01"),
    ],
)
def test_a_rhythm_names_its_days(rhythm: str | None, day: str, since: str, following: str) -> None:
    asked = date.fromisoformat(day)
    assert (str(due_since(rhythm, asked)), str(next_due(rhythm, asked))) == (since, following)


@given(rhythm=RHYTHMS, day=DAYS)
def test_days_of_a_rhythm_follow_each_other_and_no_gap_is_longer_than_said(rhythm: str, day: date) -> None:
    since, following = due_since(rhythm, day), next_due(rhythm, day)
    assert since <= day < following and due_since(rhythm, following) == following
    assert due_since(rhythm, following - timedelta(days=1)) == since, "none lies between"
    assert 1 <= (following - since).days <= longest_gap(rhythm)


@given(rhythm=RHYTHMS, day=DAYS, back=st.integers(0, 70))
def test_who_missed_their_day_are_due_until_they_are_done(rhythm: str, day: date, back: int) -> None:
    done = day - timedelta(days=back)
    waits = not_due(rhythm, day, done) is not None
    assert waits == (back > 0 and not any(due_since(rhythm, d) == d for d in _days(done, day)))
    assert not_due(rhythm, day, None) is None


def _days(after: date, to: date) -> list[date]:
    return [after + timedelta(days=n) for n in range(1, (to - after).days + 1)]


def test_an_audience_is_in_use_to_the_end_of_the_day_on_which_it_expires() -> None:
    assert out_of_use(None, D, D) is None and out_of_use("active", None, D) is None
    assert "expired" in (out_of_use(None, D, D + timedelta(days=1)) or ("", ""))[1]
    assert out_of_use("draft", None, D) and out_of_use("paused", None, D)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("refresh: weekly", "refresh is daily, weekly on monday, or monthly on 1"),
        ("refresh: monthly on 32", "not 'monthly on 32'"),
        ("state: drafted", "draft"),
        ("expires: soon", "expires"),
        ('folder: "a\\nb"', "line end"),
    ],
)
def test_a_life_that_cannot_be_meant_is_refused_with_its_line(shop: Shop, line: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"beijing\.yaml:4") as caught:
        read_text(BEIJING.replace("owner: crm", f"owner: crm\n{line}"), shop.folder / "audiences" / "beijing.yaml")
    assert said in str(caught.value)


LIFE = "state: paused\nfolder: 促销\nexpires: 2026-03-31\nrefresh: weekly on monday\n"


def test_a_life_changes_no_hash(shop: Shop) -> None:
    path = shop.folder / "audiences" / "beijing.yaml"
    plain, living = read_text(BEIJING, path), read_text(BEIJING + LIFE, path)
    assert definition_hash(plain, {}) == definition_hash(living, {})
    assert "state" not in plain.content, "and what is not said does not stand in what is kept"


@pytest.mark.parametrize(
    ("line", "why"),
    [("state: draft", "it is a draft"), ("state: paused", "it is paused"), ("expires: 2026-03-09", "it expired")],
)
def test_what_is_out_of_use_is_neither_built_nor_delivered(shop: Shop, line: str, why: str) -> None:
    shop.define("other", BEIJING)
    shop.define("beijing", f"{BEIJING}{line}\n")
    for verb in ("build", "export"):
        assert why in typed(shop, "audience", verb, "beijing", code=10)
        assert why in typed(shop, "audience", verb, "beijing", "--due", code=10)
        assert why in typed(shop, "audience", verb)
        stopped, done = as_json(shop, "audience", verb)
        assert why in stopped["stopped"] and done["audience"] == "other"
        assert why in typed(shop, "audience", verb, "beijing", "other", code=10), (
            "who names it is told by the exit code"
        )
    assert why in typed(shop, "audience", "export", "beijing", "--force", code=10), "force is for what is in use"
    assert {d["audience"] for d in deliveries(shop.lake)} == {"other"}
    assert as_json(shop, "audience", "preview", "beijing")["users"] == 3
    (told,) = status(shop.project)["audiences"]
    assert (told["audience"], told["in_use"]) == ("beijing", False) and why in told["why"]
    listed = {a["audience"]: a for a in as_json(shop, "audience", "list")}
    assert not listed["beijing"]["is_due"] and listed["other"]["is_due"]
    assert why in typed(shop, "audience", "list")


def test_an_audience_that_is_not_due_waits_and_a_missed_day_is_made_up_for(shop: Shop) -> None:
    shop.define("beijing", f"{BEIJING}refresh: weekly on tuesday\n")
    typed(shop, "audience", "export")
    wednesday, next_wednesday = (D + timedelta(days=n) for n in (1, 8))
    shop.release(wednesday, people())
    for verb in ("build", "export"):
        assert "not due: weekly on tuesday, last on 2026-03-10, next on 2026-03-17" in typed(shop, "audience", verb)
        assert "not due" in typed(shop, "audience", verb, "beijing", "--due", code=10)
    listed = as_json(shop, "audience", "list")[0]
    assert not listed["is_due"] and listed["problem"] is None and "2026-03-17" in listed["waits"][1]
    assert as_json(shop, "audience", "export", "beijing")[0]["as_of"] == str(wednesday), "who names it gets it"
    shop.release(next_wednesday, people())
    assert as_json(shop, "audience", "list")[0]["is_due"], "its Tuesday was missed"
    assert as_json(shop, "audience", "export")[0]["as_of"] == str(next_wednesday)


def test_a_delivery_that_failed_after_the_build_is_due_on_the_next_day(shop: Shop) -> None:
    shop.define("beijing", f"{BEIJING}refresh: weekly on tuesday\n")
    typed(shop, "audience", "build")
    shop.release(D + timedelta(days=1), people())
    assert as_json(shop, "audience", "export", "beijing", "--due")[0]["rows"] == 3


def test_an_old_release_is_stale_and_leaves_only_if_somebody_says_so(shop: Shop) -> None:
    typed(shop, "audience", "build", "beijing")
    shop.release(D + timedelta(days=9), people())
    assert status(shop.project)["audiences"][0] == {
        "audience": "beijing",
        "in_use": True,
        "why": "it is of 2026-03-10, 9 days before 2026-03-19, where 8 are the most",
    }
    assert "STALE audience beijing" in typed_status(shop)
    said = typed(shop, "audience", "export", "beijing", "--release", str(D), code=5)
    assert "9 days before 2026-03-19, where 8 are the most. --force delivers it as it is" in said
    assert as_json(shop, "audience", "export", "beijing", "--release", str(D), "--force")[0]["rows"] == 3
    shop.define("beijing", f"{BEIJING}refresh: weekly on monday\n")
    assert status(shop.project)["audiences"] == [], "a week more is allowed to what is built weekly"
    (shop.folder / "huaxiang.yaml").write_text("audience_stale_days: null\n", encoding="utf-8")
    shop.define("beijing", BEIJING)
    assert status(shop.project)["audiences"] == []


def typed_status(shop: Shop) -> str:
    app = typer.Typer()
    app.command()(status_verb)
    done = CliRunner().invoke(app, ["--project", str(shop.folder)])
    assert done.exit_code == 0, done.output
    return done.output


def test_check_warns_of_what_is_out_of_use_and_used(shop: Shop) -> None:
    shop.define("old", f"{BEIJING}expires: 2026-03-09\n")
    shop.define("alone", f"{BEIJING}state: draft\n")
    shop.define("beijing", BEIJING + "exclude: {audience: old}\n")

    def told(project: Project) -> list[str]:
        return [w for w in check_tags(project).warnings if "audience" in w]

    (line,) = told(shop.project)
    assert "old.yaml:1: audience 'old': it expired on 2026-03-09; it is used by audience beijing" in line
    shop.define("beijing", BEIJING)
    assert told(shop.project) == []
