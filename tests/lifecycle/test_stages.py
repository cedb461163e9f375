"""The stage of every day, since when, and why: the shipped catalogue against a person's days walked through one by one."""

from __future__ import annotations

import random
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from features.facts import needs
from features.kernel import compute, merge_files
from features.tagging import apply_recipe, make_recipe
from jobs.profile.tasks import _score
from schemas.arrow import ARROW
from tests.kernel.shop import row, table
from tests.lifecycle.lake import shipped

CATALOGUE = shipped()
FIRST = date(2026, 1, 1)
DAYS = 220
CUTS: dict[str, tuple[float, ...]] = {
    "purchase_day_cuts": (1.0, 2.0, 4.0),
    "dormant_after": (20.0, 15.0, 10.0),
    "churned_after": (40.0, 30.0, 25.0),
}
TAGS = ("lifecycle", "lifecycle_since", "lifecycle_reason")


def stages(days: list[list[int]], cuts: dict[str, tuple[float, ...]] = CUTS) -> list[list[tuple[Any, ...]]]:
    """Per user and day from 0 on: stage, since, reason, by the catalogue; ``days`` are each user's purchase days."""
    rows = [
        row(uid, "pay", f"{FIRST + timedelta(days=d)} 12:00", order_key=uid * 1_000 + d + 1)
        for uid, mine in enumerate(days)
        for d in mine
    ]
    needed = CATALOGUE.closure([("tag", n) for n in TAGS])
    facts = [f.resolved(cuts) for f in CATALOGUE.kernel_facts if ("fact", f.id) in needed]
    merged = merge_files([table(rows)], needs(facts).columns, users=len(days))
    parts = []
    for d in range(DAYS):
        as_of = FIRST + timedelta(days=d)
        found = compute(merged, facts, as_of, zone="Asia/Shanghai")
        renamed = found.rename_columns(["uid", *(f"fact.{f.id}" for f in facts)])
        parts.append(renamed.append_column("as_of", pa.array([as_of] * len(found), pa.date32())))
    base = pa.concat_tables(parts)
    for name, (kind, _) in CATALOGUE.attributes.items():
        column = pa.array([FIRST] * len(base)) if name == "first_seen_day" else pa.nulls(len(base), ARROW[kind])  # type: ignore[index]
        base = base.append_column(f"attribute.{name}", column)
    plan = make_recipe(CATALOGUE, FIRST, cuts, {}, TAGS)
    with duckdb.connect(config={"threads": "1"}) as con:
        done = apply_recipe(con, base, plan, _score, ["uid", "as_of", *TAGS]).to_pylist()
    out: list[list[tuple[Any, ...]]] = [[] for _ in days]
    for r in sorted(done, key=lambda r: (r["uid"], r["as_of"])):
        out[r["uid"]].append((r["lifecycle"], (r["lifecycle_since"] - FIRST).days, r["lifecycle_reason"]))
    return out


def at(numbers: tuple[float, ...], n: int) -> int:
    return int(numbers[min(n, len(numbers)) - 1])


def walked(mine: list[int]) -> list[tuple[str, int]]:
    """Stage and the day it began, walking through the days with nothing but definitions.md section 4 in mind."""
    found: list[tuple[str, int]] = []
    for today in range(DAYS):
        past = sorted({d for d in mine if d <= today})
        returns = [b for n, (a, b) in enumerate(pairwise(past), 1) if b - a >= at(CUTS["churned_after"], n)]
        silent = today - past[-1] if past else 0
        if not past:
            stage = "prospect"
        elif silent >= at(CUTS["churned_after"], len(past)):
            stage = "churned"
        elif silent >= at(CUTS["dormant_after"], len(past)):
            stage = "dormant"
        elif returns and today - returns[-1] < 30:
            stage = "recovered"
        else:
            stage = next(
                (
                    s
                    for s, c in zip(("new", "growing", "mature"), CUTS["purchase_day_cuts"], strict=True)
                    if len(past) <= c
                ),
                "loyal",
            )
        same = bool(found) and found[-1][0] == stage
        found.append((stage, found[-1][1] if same else today))
    return found


def drawn(seed: int) -> list[list[int]]:
    r = random.Random(seed)
    people = []
    for _ in range(20):
        day, mine = r.randrange(30), []
        while day < DAYS:
            mine.append(day)
            day += r.choice([1, 2, 4, 8, 12, 16, 22, 28, 35, 45, 70])
        people.append(mine)
    return people


@pytest.mark.parametrize("seed", [1, 2])
def test_every_day_has_the_stage_of_the_definition_and_the_day_it_began(seed: int) -> None:
    people = drawn(seed)
    for uid, (found, mine) in enumerate(zip(stages(people), people, strict=True)):
        expected = walked(mine)
        wrong = [(d, f, e) for d, (f, e) in enumerate(zip(found, expected, strict=True)) if f[:2] != e]
        assert not wrong, f"user {uid} with purchase days {mine}: day, found, expected {wrong[:3]}"


def test_the_reason_says_what_brought_the_user_here() -> None:
    #        first, second, back from dormancy (n=2: 15), back from churn (n=3: 25), on
    mine = [0, 5, 21, 50, 58, 66, 74, 82, 90]
    found = stages([mine])[0]
    assert found[0] == ("new", 0, "first_purchase")
    assert found[6] == ("growing", 5, "more_purchase_days")
    assert found[20] == ("dormant", 20, "silent_past_dormant_cut")
    assert found[21] == ("mature", 21, "more_purchase_days")
    assert found[46] == ("churned", 46, "silent_past_churn_cut")
    assert found[51] == ("recovered", 50, "returned_after_churn")
    assert found[80] == ("loyal", 80, "recovery_over")
    assert found[100] == ("dormant", 100, "silent_past_dormant_cut")
    back = stages([[0, 5, 6, 7, 8, 20]])[0]
    assert back[20] == ("loyal", 20, "returned_after_dormancy")
    assert stages([[], [3]])[0][10] == ("prospect", 0, "never_bought")


def test_the_cut_is_that_of_the_class_before_the_silence() -> None:
    # 26 days of silence are churn after the third purchase day (25), not after the second (30)
    third, second = stages([[0, 1, 2, 28], [0, 1, 27]])
    assert third[28][0] == "recovered"
    assert second[27][0] == "mature"


def test_the_shipped_defaults_are_those_of_the_definition() -> None:
    numbers = {n: s.default for n, s in CATALOGUE.estimates.items()}
    assert numbers == {"purchase_day_cuts": (1.0, 2.0, 7.0), "dormant_after": (90.0,), "churned_after": (180.0,)}
    assert all(s.keep for s in CATALOGUE.estimates.values())
