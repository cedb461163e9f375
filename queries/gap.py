"""``huaxiang gap``: which users a money target still needs, stage by stage, and who could fill each gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from features.aipl import (
    BELOW,
    NONE,
    RANK,
    STAGES,
    AiplSettings,
    StageGap,
    StageRates,
    gmv_gap,
    unexplained_share,
    without_rates,
)
from lake.folder_store import put_if_absent
from lake.releases import release
from lake.sql import connect
from project.folder import Project
from project.held import held_in_words, marks_of
from schemas.errors import HuaxiangError, NotThereError
from schemas.money import minor_units
from schemas.tag_roles import TagRole

if TYPE_CHECKING:
    from features.tags import Tag

LARGEST = Decimal(10) ** 15
"""Beyond, minor units and the users they need are no exact numbers any more."""
FIGURES = "select figure, item, number, sample_users from segments.figures where as_of = ? and topic = 'aipl'"


@dataclass(frozen=True)
class Filler:
    """The audience that would fill a stage's gap: who stands one stage below, and how many they are."""

    name: str
    from_stage: str
    users: int
    file: Path | None = None


@dataclass(frozen=True)
class StageNeed:
    """One stage of the plan; money in minor units, rates over the report's horizon of days."""

    stage: str
    zh: str
    en: str
    users: int
    sample_users: int
    conversion: float
    conversion_low: float
    conversion_high: float
    orders_per_buyer: float
    order_value_minor: float
    target_share: float
    needed_users: int
    gap_users: int
    surplus_users: int
    filler: Filler | None


@dataclass(frozen=True)
class GapReport:
    """What a target needs. ``reached_minor``: what the users of these stages would bring at these rates (of none: nothing,
    for their rate is largely that of people who came new).

    ``unexplained_share``: of the money of the rates' period the share that no stage explains, since users of none (or
    who were not there yet) brought it; None where it is not known.
    """

    as_of: date
    release: int
    target_minor: int
    horizon_days: int
    stages: tuple[StageNeed, ...]
    reached_minor: int
    unexplained_share: float | None
    warnings: tuple[str, ...]


def gap(
    project: Project,
    target: Decimal,
    as_of: date | None,
    *,
    stages: Sequence[str] | None = None,
    save: bool = False,
) -> GapReport:
    """The gap of a target in major units at a release's rates. ``save`` writes audiences/gap_STAGE.yaml where missing.

    ``stages`` are to bring the whole target between them. Absent: all that the period has rates of, and ``none`` for
    what users of no stage brought; the others are named in a warning. HuaxiangError names a stage that was asked for
    and has no history or no conversion; NotThereError a day without release or figures, and a shop whose tags hold no AIPL stage.
    """
    target_minor = minor_units(target, project.currency) if target.is_finite() and target <= LARGEST else 0
    if target_minor <= 0:
        raise HuaxiangError(f"--target is money above 0 and up to {LARGEST:.0e} in {project.currency}, not {target}")
    if stages is not None:
        unknown = [s for s in stages if s not in RANK]
        if unknown or not stages:
            raise HuaxiangError(f"no stage {unknown[0] if unknown else ''!r}; stages are {', '.join((*STAGES, NONE))}")
        stages = list(dict.fromkeys(stages))
    scheme = project.catalogue.tag_of(TagRole.AIPL)
    settings = project.method("aipl", AiplSettings)
    at = release(project.lake, as_of.isoformat() if as_of else None)
    if "segments.figures" not in at.tables:
        raise NotThereError(
            f"release {at.number} ({at.as_of}) is older than the figures of AIPL; run that day again: "
            f"`huaxiang run --as-of {at.as_of}`"
        )
    with connect(project.lake, at) as con:
        users, rates, days = _figures(con, at.as_of)
    if len(rates) < len(STAGES):
        raise NotThereError(
            f"the release of {at.as_of} has no rates: they need a snapshot {settings.horizon_days} days before it "
            f"(within {settings.horizon_tolerance_days} days); run that day too, such as "
            f"`huaxiang backfill --from DAY --to {at.as_of}`"
        )
    warnings: list[str] = []
    if stages is None:
        stages, warnings = _with_rates(rates, settings)
    wanted = [r for r in rates if r.stage in stages]
    shares = _shares(settings, stages)
    found = gmv_gap(target_minor, users, wanted, shares)
    warnings += [
        f"stage {r.stage} has no share of the target in gmv_share (methods/aipl.yaml); it is asked for nothing"
        for r in wanted
        if shares is not None and not shares.get(r.stage)
    ]
    needs = tuple(_need(project, g, users, scheme, save) for g in found)
    reached = sum(round(g.users * (g.rates.value_per_user_minor or 0)) for g in found if g.rates.stage != NONE)
    small = [r for r in wanted if r.users < settings.min_sample]
    warnings += [f"stage {r.stage}: its rates rest on {r.users} users only" for r in small]
    if not any(r.stage == NONE for r in rates):
        warnings.append(
            "how much came from users of no stage is not known: the release was made by an older version; "
            f"`huaxiang run --as-of {at.as_of} --force`"
        )
    for day in dict.fromkeys((at.as_of - timedelta(days), at.as_of)):
        if held := marks_of(project.lake, project.catalogue, at, day).of([scheme.id]):
            whose = "the stages" if day == at.as_of else f"the stages of {day}, whose users the rates are of,"
            warnings.append(f"{whose} are made from {held_in_words(held)}, that is from older values")
    unexplained = unexplained_share(rates)
    return GapReport(at.as_of, at.number, target_minor, days, needs, reached, unexplained, tuple(warnings))


def _with_rates(rates: Sequence[StageRates], settings: AiplSettings) -> tuple[list[str], list[str]]:
    """Stages that can bring something, ``none`` where it did or has a declared share; and what is said of the others."""
    given: dict[str, float] = {str(s): share for s, share in (settings.gmv_share or {}).items()}
    without = {r.stage: why for r in rates if (why := without_rates(r)) is not None}
    wanted = [s for s in STAGES if s not in without or given.get(s)]
    if any(r.stage == NONE and (given.get(NONE) if given else NONE not in without) for r in rates):
        wanted.append(NONE)
    if not wanted:
        said = "; ".join(f"{s} {why}" for s, why in without.items())
        raise HuaxiangError(
            f"nobody bought within the period of the rates, so no number of users reaches a target: {said}"
        )
    left_out = [s for s in STAGES if s not in wanted]
    return wanted, [f"stage {s} {without[s]}; it is left out" for s in left_out]


def _shares(settings: AiplSettings, stages: Sequence[str]) -> dict[str, float] | None:
    """``gmv_share`` of the chosen stages, which are to bring the whole target between them; None where it is not set."""
    if settings.gmv_share is None:
        return None
    chosen = {str(s): share for s, share in settings.gmv_share.items() if s in stages}
    whole = sum(chosen.values())
    if not whole:
        raise HuaxiangError(
            f"gmv_share in methods/aipl.yaml gives the stages {', '.join(stages)} no share of the target; "
            "give one of them a share there, or add a stage that has one to --stages"
        )
    return {s: share / whole for s, share in chosen.items()}


def _figures(con: duckdb.DuckDBPyConnection, as_of: date) -> tuple[dict[str, int], list[StageRates], int]:
    found = {(f, i): (number, sample) for f, i, number, sample in con.execute(FIGURES, [as_of]).fetchall()}
    users = {i: int(n) for (f, i), (n, _) in found.items() if f == "users"}
    rates = [
        StageRates(
            stage,
            found["conversion", stage][1],
            found["orders_per_buyer", stage][1],
            found["order_value_minor", stage][1],
            int(found["stage_amount_minor", stage][0]),
        )
        for stage in (*STAGES, NONE)
        if ("conversion", stage) in found
    ]
    return users, rates, int(found.get(("horizon_days", ""), (0, None))[0])


def _need(project: Project, g: StageGap, users: dict[str, int], scheme: Tag, save: bool) -> StageNeed:
    r = g.rates
    low, high = r.interval
    assert r.conversion is not None and r.orders_per_buyer is not None and r.order_value_minor is not None
    assert low is not None and high is not None
    filler = None
    if g.gap and r.stage in BELOW:
        below = BELOW[r.stage]
        name = f"gap_{r.stage}"
        filler = Filler(name, below, users.get(below, 0), _saved(project, name, g, scheme) if save else None)
    zh, en = _called(scheme, r.stage)
    return StageNeed(
        stage=r.stage,
        zh=zh,
        en=en,
        users=g.users,
        sample_users=r.users,
        conversion=r.conversion,
        conversion_low=low,
        conversion_high=high,
        orders_per_buyer=r.orders_per_buyer,
        order_value_minor=r.order_value_minor,
        target_share=g.target_share,
        needed_users=g.needed_users,
        gap_users=g.gap,
        surplus_users=g.surplus,
        filler=filler,
    )


def _called(scheme: Tag, stage: str) -> tuple[str, str]:
    """What the shop calls a stage; its value where it has no label."""
    label = scheme.labels.get(stage)
    return (stage, stage) if label is None else (label.zh, label.en)


def _saved(project: Project, name: str, g: StageGap, scheme: Tag) -> Path:
    """The audience as a file of the project; one that is there is the shop's own and stays."""
    below = BELOW[g.rates.stage]
    path = project.folder / "audiences" / f"{name}.yaml"
    (zh, en), (below_zh, below_en) = _called(scheme, g.rates.stage), _called(scheme, below)
    text = f"""# Proposed by `huaxiang gap`: users one stage below {g.rates.stage}. Change it as you like; it is not written again.
name: {{zh: "补足{zh}", en: "Towards {en}"}}
description:
  zh: "现处于“{below_zh}”的用户，用于补足“{zh}”阶段的人数缺口。"
  en: "Users who stand in {below_en}; to fill the gap of stage {en}."
owner: crm
include:
  all:
    - {{tag: {scheme.id}, is: {below}}}
export:
  columns: [user_id, {scheme.id}]
"""
    path.parent.mkdir(exist_ok=True)
    put_if_absent(path, text)
    return path
