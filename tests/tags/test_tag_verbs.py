"""``huaxiang tag check | show | lineage | diff``: removed tags are refused with who uses them, a change is counted first."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from cli.main import commands
from jobs.activity.step import run_activity
from jobs.identity.step import update_identity
from jobs.profile.diff import _computed, changes, tag_diff
from jobs.profile.step import run_profile
from lake import releases
from lake.engine import Engine
from lake.sql import connect
from project import check as tag_check
from project import setup
from project.catalogue_store import Remembered, remember_catalogue, remembered
from project.folder import Project
from project.loading import load_catalogue
from queries.tag_lineage import lineage
from schemas.errors import ConfigurationError, NotThereError
from tests.silver import at, write_silver

AS_OF = date(2026, 3, 31)
TAGS = """
defaults: {owner: crm, refresh: daily, version: 1, sources: [orders, order_lines], kind: dynamic, method: rule}
facts:
  spend: {from: [pay], measure: net_amount, agg: sum, window: 30}
breaks:
  middle: {of: spend_30d, where: orders_30d > 0, statistic: median}
tags:
  - id: spend_30d
    name: {zh: 近 30 天消费, en: Spend in 30 days}
    description: {zh: 近 30 天净消费。, en: Net spend of 30 days.}
    path: [消费特征, 消费总规模, 消费]
    type: int64
    unit: minor
    values: {}
    empty: 0
    expression: spend

  - id: orders_30d
    name: {zh: 近 30 天订单, en: Orders in 30 days}
    description: {zh: 近 30 天订单数。, en: Orders of 30 days.}
    path: [消费特征, 消费能力和频次, 订单数]
    method: fact
    type: int64
    unit: orders
    values: {min: 0}
    empty: 0
    window: 30
    fact: {from: [pay], measure: orders, agg: count, window: 30}

  - id: worth
    name: {zh: 价值, en: Worth}
    description: {zh: 按近 30 天消费分。, en: By spend of 30 days.}
    path: [消费特征, 消费总规模, 价值]
    type: string
    scheme: true
    values: [much, little, none]
    labels: {much: {zh: 高, en: Much}, little: {zh: 低, en: Little}, none: {zh: 无, en: None}}
    strategies:
      much: {zh: 维护, en: Look after}
      little: {zh: 提升, en: Raise}
      none: {zh: 召回, en: Win back}
    empty: none
    rules:
      - {when: spend_30d >= 5000, value: much}
      - {when: orders_30d > 0, value: little}
    else: none

  - id: is_worth_much
    name: {zh: 高价值, en: Worth much}
    description: {zh: 是否高价值。, en: Whether worth much.}
    path: [消费特征, 消费总规模, 价值]
    type: bool
    empty: false
    expression: worth = 'much'
"""
AUDIENCE = """
name: {zh: 近期买家, en: Recent buyers}
description: {zh: 近期买家。, en: Recent buyers.}
owner: crm
include:
  all:
    - {tag: is_member, is: true}
    - {tag: orders_30d, at_least: 1}
export: {columns: [user_id, worth]}
"""


def said(project: Project, *words: str) -> Any:
    return CliRunner().invoke(commands(), ["tag", *words, "--project", str(project.folder)])


def new_project(folder: Path) -> Project:
    setup.init(folder)
    for part in ("tags", "audiences"):
        shutil.rmtree(folder / part)
        (folder / part).mkdir()
    (folder / "tags" / "tags.yaml").write_text(TAGS, encoding="utf-8")
    (folder / "audiences" / "buyers.yaml").write_text(AUDIENCE, encoding="utf-8")
    return Project.load(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path / "project")


def with_tags(project: Project, *replaced: tuple[str, str]) -> Project:
    """The project read anew, with its tags changed."""
    text = TAGS
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (project.folder / "tags" / "tags.yaml").write_text(text, encoding="utf-8")
    return Project.load(project.folder)


def without(tag: str) -> tuple[str, str]:
    entry = TAGS[TAGS.index(f"  - id: {tag}\n") :]
    following = entry.find("  - id: ", 1)
    return (entry if following < 0 else entry[:following], "")


@pytest.fixture
def released(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose first catalogue is what the latest release was computed with."""
    release = releases.Release(7, AS_OF, "r", datetime(2026, 4, 1, tzinfo=UTC), {})
    known = Remembered(release, project.catalogue.version, project.catalogue.declared)
    monkeypatch.setattr(tag_check, "remembered", lambda lake: known)
    return project


def test_a_sound_project_has_nothing_unresolved(released: Project) -> None:
    assert tag_check.unresolved(released) == []
    report = tag_check.check_tags(released)
    assert (report.tags, report.segmentations, report.audiences, report.mistakes) == (4, 1, 1, ())


def test_removing_a_tag_that_rules_breaks_and_audiences_use_is_refused_with_all_of_them(released: Project) -> None:
    changed = with_tags(released, without("orders_30d"))
    (line,) = tag_check.unresolved(changed)
    tags, audience = changed.folder / "tags" / "tags.yaml", changed.folder / "audiences" / "buyers.yaml"
    assert line.startswith(f"{tags}:6: tag 'orders_30d' of release 7 (2026-03-31) was removed or renamed")
    assert f"used by break 'middle' ({tags}:6), tag 'worth' ({tags}:" in line
    assert f"audience 'buyers' ({audience}:8)" in line
    with pytest.raises(ConfigurationError, match="orders_30d"):
        tag_check.refuse_unresolved(changed)
    done = said(changed, "check")
    assert done.exit_code == 3
    assert "unknown column 'orders_30d'" in done.stdout
    assert any(line == m for m in setup.check(changed.folder).mistakes)


def test_a_renamed_tag_is_recognised(released: Project) -> None:
    renamed = with_tags(released, ("id: is_worth_much", "id: is_worth_much_2"), ("id: worth\n", "id: worth_30d\n"))
    (line,) = tag_check.unresolved(renamed)
    assert "tag 'worth' of release 7" in line
    assert line.endswith("if it was renamed, did you mean 'worth_30d'?")
    # nobody uses is_worth_much, so it may go


def test_a_removed_tag_that_only_an_audience_exports_is_told_once(released: Project) -> None:
    changed = with_tags(released, without("worth"), without("is_worth_much"))
    mistakes = tag_check.check_tags(changed).mistakes
    assert len(mistakes) == 1
    assert mistakes[0].startswith(f"{changed.folder / 'audiences' / 'buyers.yaml'}:9: tag 'worth' of release 7")


def test_changes_are_told_by_what_they_do_to_values(project: Project) -> None:
    before = project.catalogue.declared
    changed = with_tags(
        project,
        (">= 5000", ">= 9000"),
        ("en: Orders in 30 days", "en: Orders of a month"),
        ("en: Net spend of 30 days.", "en: Net spend in the last 30 days."),
    )
    found = {c.tag: c for c in changes(changed, before, changed.catalogue)}
    assert {n: c.kind for n, c in found.items()} == {
        "spend_30d": "worded",
        "orders_30d": "worded",
        "worth": "changed",
        "is_worth_much": "dependent",
    }
    assert found["worth"].keys == ("rules",)
    assert found["is_worth_much"].because == ("tag worth",)


def test_a_changed_fact_changes_what_is_made_of_it(project: Project) -> None:
    before = project.catalogue.declared
    wider = with_tags(project, ("agg: sum, window: 30", "agg: sum, window: 60"))
    found = {c.tag: (c.kind, c.because) for c in changes(wider, before, wider.catalogue)}
    assert found["spend_30d"] == ("dependent", ("fact spend",))
    assert found["worth"] == ("dependent", ("fact spend",))
    assert "orders_30d" not in found


def test_declarations_of_a_folder_can_be_compared(project: Project, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tags.yaml").write_text(TAGS.replace(*without("is_worth_much")), encoding="utf-8")
    found = json.loads(said(project, "diff", "--no-count", "--json", "--against", str(tmp_path / "other")).stdout)
    assert [(c["tag"], c["kind"]) for c in found["changes"]] == [("is_worth_much", "added")]
    with pytest.raises(NotThereError, match="no release has a catalogue to compare with yet"):
        tag_diff(project)


def test_lineage_goes_down_to_feeds_and_up_to_audiences(project: Project) -> None:
    found = lineage(project, "worth")
    assert {b.name for b in found.made_from.branches} == {"spend_30d", "orders_30d"}
    assert found.feeds == ("order_lines", "orders", "refunds")
    assert [b.name for b in found.used_by] == ["is_worth_much"]
    assert [u.name for u in found.audiences] == ["buyers"]
    text = said(project, "lineage", "orders_30d").stdout
    assert "break middle: median of spend_30d where orders_30d > 0" in text
    assert "audience 'buyers'" in text
    assert json.loads(said(project, "lineage", "worth", "--json").stdout)["made_from"]["name"] == "worth"


def test_a_tag_is_shown_with_values_and_strategies_without_a_release(project: Project) -> None:
    text = said(project, "show", "worth").stdout
    for part in ("价值 · Worth", "much  高 · Much", "strategy: 维护", "Look after", "used by audiences: buyers"):
        assert part in text
    page = json.loads(said(project, "show", "worth", "--json").stdout)
    assert page["values"][0]["strategy"] == {"zh": "维护", "en": "Look after"}
    assert said(project, "show", "wort").exit_code == 7


def test_a_change_is_computed_with_the_projects_own_methods(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = project.folder / "methods"
    methods.mkdir(exist_ok=True)
    (methods / "lifecycle.yaml").write_text("min_at_risk: 7\n", encoding="utf-8")
    given: dict[str, Any] = {}

    def stop(*_: Any, **more: Any) -> None:
        given.update(more)
        raise InterruptedError

    monkeypatch.setattr("jobs.profile.step.update_profile", stop)
    with pytest.raises(InterruptedError):
        _computed(project, cast("Engine", None), project.catalogue, AS_OF, "diff-1", None)
    assert given["lifecycle"].min_at_risk == 7


# --- on a lake ---


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Project:
    """Forty members who bought once, for 250 to 10,000; released."""
    project = new_project(tmp_path_factory.mktemp("diff") / "project")
    people = range(1, 41)
    when = at("2026-03-20 10:00")
    rows: dict[str, list[dict[str, Any]]] = {
        "members": [{"member_id": f"m{i}", "registered_at": when, "source_time": when} for i in people],
        "orders": [
            {"member_id": f"m{i}", "order_id": f"o{i}", "ordered_at": when, "paid_at": when, "channel": "app"}
            for i in people
        ],
        "order_lines": [
            {"order_id": f"o{i}", "line_id": "1", "ordered_at": when, "sku_id": "s", "quantity": 1}
            | {"list_amount_minor": 250 * i, "net_amount_minor": 250 * i}
            for i in people
        ],
    }
    for feed, given in rows.items():
        write_silver(project.lake, feed, given, ingested="2026-03-31 06:00", batch=feed)
    update_identity(project.lake, embedded, AS_OF, "i1", "salt")
    run_activity(project, embedded, "a1")
    run_profile(project, embedded, AS_OF, run_id="p1")
    releases.write_release(project.lake, AS_OF, "r1", project.lake.versions())
    remember_catalogue(project.lake, project.catalogue)
    return project


@pytest.mark.slow
def test_a_change_is_counted_before_it_is_published(shop: Project, embedded: Engine) -> None:
    before = shop.lake.versions()
    changed = with_tags(shop, (">= 5000", ">= 9000"))
    found = tag_diff(changed, None, embedded)
    assert found.against == "release 1 (2026-03-31)"
    effects = {c.tag: c.effect for c in found.changes}
    worth = effects["worth"]
    assert worth is not None
    # 250 * i from 5,000 to under 9,000: i = 20 ... 35
    assert (worth.users, worth.changed) == (40, 16)
    assert worth.moves == ({"value_before": "much", "value_after": "little", "users": 16},)
    assert effects["is_worth_much"] is not None and effects["is_worth_much"].changed == 16
    assert set(effects) == {"worth", "is_worth_much"}
    assert shop.lake.versions() == before
    assert not list((shop.lake.root / "ops" / "journal").glob("diff-*"))
    with_tags(shop)


@pytest.mark.slow
def test_added_and_removed_tags_are_counted_too(shop: Project, embedded: Engine) -> None:
    added = TAGS[TAGS.index("  - id: orders_30d") : TAGS.index("  - id: worth\n")].replace("30", "45")
    changed = with_tags(shop, without("is_worth_much"), ("  - id: worth\n", added + "  - id: worth\n"))
    found = {c.tag: c for c in tag_diff(changed, None, embedded).changes}
    assert {n: c.kind for n, c in found.items()} == {"orders_45d": "added", "is_worth_much": "removed"}
    new, gone = found["orders_45d"].effect, found["is_worth_much"].effect
    assert new is not None and gone is not None
    assert (new.known_after, new.moves) == (40, ({"value_after": "1", "users": 40},))
    assert gone.known_before == 40
    with_tags(shop)


@pytest.mark.slow
def test_the_catalogue_of_a_release_is_remembered_with_its_profile(shop: Project, embedded: Engine) -> None:
    known = remembered(shop.lake)
    assert known is not None
    assert known.version == load_catalogue(shop.files("tags")).version
    assert set(known.declared["tags"]) == {"spend_30d", "orders_30d", "worth", "is_worth_much"}
    changed = with_tags(shop, without("worth"), without("is_worth_much"))
    assert "was removed or renamed" in tag_check.unresolved(changed)[0]
    with_tags(shop)


@pytest.mark.slow
def test_a_tag_is_shown_as_it_stands_in_the_latest_release(shop: Project) -> None:
    page = json.loads(said(shop, "show", "worth", "--json").stdout)
    assert page["standing"]["as_of"] == "2026-03-31"
    counts = {d["value"]: d["users"] for d in page["standing"]["distribution"] if d["is_member"]}
    with connect(shop.lake, None) as con:
        rows = con.execute("select worth, count(*) from profile.profile group by all").fetchall()
    assert counts == dict(rows) == {"much": 21, "little": 19}
    assert page["standing"]["quality"][0]["verdict"]
    text = said(shop, "show", "spend_30d").stdout
    assert "Spread" in text and "median" in text


@pytest.mark.slow
def test_a_window_longer_than_the_data_is_a_warning(shop: Project) -> None:
    done = said(shop, "check")
    assert done.exit_code == 0
    assert "warning: " in done.stdout
    told = said(shop, "check", "--json").stdout
    assert "tag 'orders_30d': its window of 30 days is longer than the 12 days of data" in told


def test_lineage_names_what_a_fact_asks_of_rows_and_the_feed_that_knows_it(project: Project) -> None:
    found = lineage(
        with_tags(project, ("agg: sum, window: 30", "agg: sum, window: 30, where: {brand: [b, a]}")), "worth"
    )
    assert found.feeds == ("order_lines", "orders", "products", "refunds")
    assert any(", 30 days, brand a or b" in line for line in found.made_from.lines())
