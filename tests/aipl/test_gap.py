"""``huaxiang gap`` on published figures: the target in the lake's currency, and shares of chosen stages."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import insight
from cli import run as run_verbs
from jobs.pipeline import fingerprint
from lake.releases import write_release
from project.folder import Project
from queries.gap import gap
from schemas.errors import HuaxiangError
from tests.audiences.lake_shop import Shop
from tests.pipeline import shop

app = typer.Typer()
app.command()(insight.gap)
app.command()(run_verbs.run)

DAY = date(2026, 3, 10)
USERS = {"awareness": 1_000, "interest": 500, "purchase": 200, "loyalty": 100}
PER_USER = 1_000
"""Minor units that a user of any stage brings."""


Rate = tuple[int, int]
"""Users and minor units that one brings."""


def figures(rates: dict[str, Rate] | None = None) -> list[dict[str, Any]]:
    found: list[tuple[str, str, float, int | None]] = [("horizon_days", "", 30, None)]
    for stage, (users, per_user) in (rates or {s: (n, PER_USER) for s, n in USERS.items()}).items():
        found += [
            ("users", stage, users, None),
            ("conversion", stage, 0.5, users),
            ("orders_per_buyer", stage, 1, users // 2),
            ("order_value_minor", stage, 2 * per_user, users // 2),
            ("stage_amount_minor", stage, users * per_user, users),
        ]
    return [
        {"as_of": DAY, "topic": "aipl", "figure": f, "item": i, "number": float(n), "sample_users": s}
        for f, i, n, s in found
    ]


def made(folder: Path, currency: str = "CNY", rates: dict[str, Rate] | None = None) -> Project:
    shop.new_project(folder)
    path = folder / "huaxiang.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("currency: CNY", f"currency: {currency}"), encoding="utf-8"
    )
    Shop.at(folder).put("segments.figures", figures(rates), replace=[{"as_of": DAY}])
    project = Project.load(folder)
    assert project.currency == currency
    write_release(project.lake, DAY, "run-1", {"segments.figures": project.lake.versions()["segments.figures"]})
    return project


def with_shares(project: Project, shares: str) -> Project:
    path = project.folder / "methods" / "aipl.yaml"
    path.write_text(path.read_text(encoding="utf-8") + f"\ngmv_share: {shares}\n", encoding="utf-8")
    return Project.load(project.folder)


@pytest.mark.parametrize(
    ("currency", "minor", "needed"), [("CNY", 500_000, 500), ("JPY", 5_000, 5), ("KWD", 5_000_000, 5_000)]
)
def test_a_target_is_read_in_the_digits_of_the_currency(tmp_path: Path, currency: str, minor: int, needed: int) -> None:
    report = gap(made(tmp_path / "project", currency), Decimal(5_000), DAY, stages=["purchase"])
    assert report.target_minor == minor
    assert report.stages[0].needed_users == needed


@pytest.mark.parametrize(
    ("currency", "target", "reached"), [("CNY", "5,000.00", "2,000.00"), ("JPY", "5,000", "200,000")]
)
def test_the_plan_is_printed_in_the_digits_of_the_currency(
    tmp_path: Path, currency: str, target: str, reached: str
) -> None:
    project = made(tmp_path / "project", currency)
    words = ["gap", "--target", "5000", "--stages", "purchase", "--project", str(project.folder)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"Target {target} {currency}" in " ".join(done.output.split())
    assert f"would bring {reached} {currency}" in done.output


def test_a_target_below_the_smallest_coin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HuaxiangError, match="--target is money above 0"):
        gap(made(tmp_path / "project", "JPY"), Decimal("0.3"), DAY)


def test_chosen_stages_bring_the_whole_target_between_them(tmp_path: Path) -> None:
    project = with_shares(made(tmp_path / "project"), "{awareness: 0.2, interest: 0.2, purchase: 0.1, loyalty: 0.5}")
    report = gap(project, Decimal(30_000), DAY, stages=["interest", "purchase"])
    assert [s.target_share for s in report.stages] == pytest.approx([2 / 3, 1 / 3])
    assert [s.needed_users for s in report.stages] == [2_000, 1_000]


GROUP_BUYERS = {
    "awareness": (0, 0),
    "interest": (40, 0),
    "purchase": (100, 265),
    "loyalty": (100, 265),
    "none": (50, 940),
}
"""As in a shop of group purchases: nobody is only aware, who is interested did not buy, and 47 % came from new people."""


def test_money_that_no_stage_explains_is_a_row_of_its_own(tmp_path: Path) -> None:
    project = made(tmp_path / "project", rates=GROUP_BUYERS)
    report = gap(project, Decimal(1_000), DAY)
    assert report.unexplained_share == pytest.approx(0.47)
    assert {s.stage: round(s.target_share, 3) for s in report.stages} == {
        "purchase": 0.265,
        "loyalty": 0.265,
        "none": 0.47,
    }
    assert {s.stage: s.needed_users for s in report.stages} == {"purchase": 100, "loyalty": 100, "none": 50}
    assert report.warnings == (
        "stage awareness has no history: nobody stood in it at the start of the period; it is left out",
        "stage interest has no conversion: none of its 40 users bought within the period; it is left out",
    )
    done = CliRunner().invoke(app, ["gap", "--target", "2000", "--project", str(project.folder)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "47.0% of the period's money came from users who stood in no stage" in said
    assert "none: 50 short: reach new people" in said


def test_a_stage_that_was_asked_for_and_has_no_history_is_still_refused(tmp_path: Path) -> None:
    project = made(tmp_path / "project", rates=GROUP_BUYERS)
    with pytest.raises(HuaxiangError, match="stage 'awareness' has no history"):
        gap(project, Decimal(1_000), DAY, stages=["awareness", "purchase"])
    shares = with_shares(project, "{interest: 0.5, loyalty: 0.5}")
    with pytest.raises(HuaxiangError, match="stage 'interest' has no conversion"):
        gap(shares, Decimal(1_000), DAY)
    nobody = made(tmp_path / "nobody", rates=dict.fromkeys(USERS, (9, 0)))
    with pytest.raises(HuaxiangError, match="nobody bought within the period of the rates"):
        gap(nobody, Decimal(1_000), DAY)


def test_rates_of_users_whose_stages_were_held_at_the_start_say_so(tmp_path: Path) -> None:
    project = made(tmp_path / "project")
    start = DAY - timedelta(30)
    counts = dict.fromkeys(
        ("base_users", "known_users", "changed_users", "declared_users", "compared_users", "agreeing_users"), 0
    )
    row = {"as_of": start, "tag": "aipl_stage", "is_member": True, "verdict": "act", "held_since": start, **counts}
    released = {**row, "as_of": DAY, "held_since": None, "verdict": "stable"}
    Shop.at(project.folder).put("profile.tag_quality", [row, released], replace=[{"as_of": start}, {"as_of": DAY}])
    project = Project.load(project.folder)
    versions = project.lake.versions()
    tables = {t: versions[t] for t in ("segments.figures", "profile.tag_quality")}
    write_release(project.lake, DAY, "run-2", tables)
    told = [w for w in gap(project, Decimal(1_000), DAY).warnings if "held" in w]
    assert told == [
        f"the stages of {start}, whose users the rates are of, are made from aipl_stage (held since {start}), "
        "that is from older values"
    ]


def test_stages_without_a_share_are_refused_with_the_setting_and_the_remedy(tmp_path: Path) -> None:
    project = with_shares(made(tmp_path / "project"), "{interest: 0.5, purchase: 0, loyalty: 0.5}")
    with pytest.raises(HuaxiangError, match=r"gmv_share in methods/aipl.yaml .* awareness, purchase .*--stages"):
        gap(project, Decimal(30_000), DAY, stages=["awareness", "purchase"])


def test_users_of_no_stage_can_have_a_share_of_the_target(tmp_path: Path) -> None:
    shared = with_shares(made(tmp_path / "project", rates=GROUP_BUYERS), "{purchase: 0.25, loyalty: 0.25, none: 0.5}")
    report = gap(shared, Decimal(1_000), DAY)
    assert {s.stage: s.target_share for s in report.stages} == {"purchase": 0.25, "loyalty": 0.25, "none": 0.5}
    assert {s.stage: s.needed_users for s in report.stages}["none"] == 54, "50,000 of 940 each"
    alone = gap(shared, Decimal(1_000), DAY, stages=["none"])
    assert [(s.stage, s.target_share) for s in alone.stages] == [("none", 1.0)]


def test_a_chosen_stage_without_a_share_beside_one_with_is_told_of(tmp_path: Path) -> None:
    project = with_shares(made(tmp_path / "project", rates=GROUP_BUYERS), "{purchase: 0, loyalty: 1.0}")
    report = gap(project, Decimal(1_000), DAY, stages=["none", "purchase", "loyalty"])
    assert [(s.stage, s.target_share) for s in report.stages] == [("purchase", 0.0), ("loyalty", 1.0), ("none", 0.0)]
    assert report.warnings == (
        "stage purchase has no share of the target in gmv_share (methods/aipl.yaml); it is asked for nothing",
        "stage none has no share of the target in gmv_share (methods/aipl.yaml); it is asked for nothing",
    )


def test_a_changed_file_of_peers_is_another_run(tmp_path: Path) -> None:
    project = made(tmp_path / "project")
    without = fingerprint(project, DAY, None)
    peers = project.folder / "peers.csv"
    peers.write_text("stage,share\ninterest,0.2\n", encoding="utf-8")
    assert fingerprint(project, DAY, None) == without
    path = project.folder / "methods" / "aipl.yaml"
    text = path.read_text(encoding="utf-8").replace("kind: history", "kind: file\n  file: peers.csv")
    path.write_text(text, encoding="utf-8")
    project = Project.load(project.folder)
    before = fingerprint(project, DAY, None)
    peers.write_text("stage,share\ninterest,0.3\n", encoding="utf-8")
    changed = fingerprint(project, DAY, None)
    peers.unlink()
    assert len({without, before, changed, fingerprint(project, DAY, None)}) == 4


def test_a_dry_run_asks_of_the_same_knowledge_as_the_run(tmp_path: Path) -> None:
    project, known = made(tmp_path / "project"), datetime(2026, 3, 10, 22, tzinfo=UTC)
    write_release(project.lake, DAY, "run-2", {}, fingerprint=fingerprint(project, DAY, known))
    words = ["run", "--as-of", str(DAY), "--dry-run", "--project", str(project.folder)]
    assert "done already" in CliRunner().invoke(app, [*words, "--known-at", "2026-03-11T06:00:00+08:00"]).output
    assert "would run" in CliRunner().invoke(app, words).output
