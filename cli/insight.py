"""``huaxiang gap`` and ``huaxiang flow``."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from cli.session import (
    HERE,
    AsOfOption,
    JsonOption,
    ProjectOption,
    day_option,
    open_project,
    show_json,
    show_table,
    tell_which_release,
    verb,
)
from features.aipl import NONE, STAGES
from queries.flow import flow as flow_step
from queries.gap import gap as gap_step
from schemas.errors import UsageError
from schemas.money import money_text


@verb
def gap(
    target: Annotated[str, typer.Option(help="Money to reach within the horizon, in the lake's currency.")],
    as_of: AsOfOption = None,
    stages: Annotated[
        str | None,
        typer.Option(
            help=f"Stages that are to bring it, of {', '.join((*STAGES, NONE))}; default: all that have rates."
        ),
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Write an audience for each gap into audiences/.")] = False,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """用户缺口推演: how many users each AIPL stage still needs for a money target, and who could fill the gap."""
    p = open_project(project)
    try:
        money = Decimal(target.replace(",", ""))
    except InvalidOperation:
        raise UsageError(f"--target {target!r} is no amount of money, such as 1000000") from None
    tell_which_release(p, as_of)
    chosen = None if stages is None else [s.strip() for s in stages.split(",") if s.strip()]
    report = gap_step(p, money, as_of.date() if as_of else None, stages=chosen, save=save)
    if as_json:
        show_json(report)
        return
    rows: list[dict[str, Any]] = [
        {
            "stage": f"{s.zh} {s.en}",
            "users": s.users,
            "CVR %": 100 * s.conversion,
            "95 %": f"{100 * s.conversion_low:.2f}..{100 * s.conversion_high:.2f}",
            "n": s.sample_users,
            "orders/buyer": s.orders_per_buyer,
            "order value": money_text(s.order_value_minor, p.currency),
            "share %": 100 * s.target_share,
            "needed": s.needed_users,
            "gap": s.gap_users,
            "surplus": s.surplus_users,
        }
        for s in report.stages
    ]
    show_table(
        f"Target {money_text(report.target_minor, p.currency)} {p.currency} within {report.horizon_days} days, "
        f"rates up to {report.as_of} (release {report.release})",
        rows,
    )
    reached = money_text(report.reached_minor, p.currency)
    print(f"The users who stand in a stage would bring {reached} {p.currency} at these rates.")
    if report.unexplained_share:
        print(
            f"{report.unexplained_share:.1%} of the period's money came from users who stood in no stage at its start or were "
            "not known yet; no stage explains it (row none)."
        )
    for s in report.stages:
        if s.stage == NONE and s.gap_users:
            print(f"{s.stage}: {s.gap_users:,} short: reach new people")
        if s.filler is not None:
            f = s.filler
            short = "" if f.users >= s.gap_users else f", {s.gap_users - f.users:,} short: reach new people"
            kept = f" -> {f.file}" if f.file else ""
            print(f"{s.stage}: audience {f.name} = users in {f.from_stage} ({f.users:,} users{short}){kept}")
    for w in report.warnings:
        print(f"warning: {w}")


@verb
def flow(
    first: Annotated[datetime, day_option("--from", "The earlier day.")],
    last: Annotated[datetime, day_option("--to", "The later day.")],
    scheme: Annotated[
        str | None, typer.Option(help="Segmentation, the id of its tag; default: the AIPL stage.")
    ] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Who moved where between two days, user by user; every user is counted once."""
    report = flow_step(open_project(project), scheme, first.date(), last.date())
    if as_json:
        counts = [{"from": was, "to": now, "users": n} for (was, now), n in report.counts.items()]
        show_json(
            {
                "scheme": report.scheme,
                "from": report.first,
                "to": report.last,
                "counts": counts,
                "segments": report.segments,
                "warnings": report.warnings,
            }
        )
        return
    names = [s.segment for s in report.segments]
    rows = [
        {"from": was, **{now: report.counts.get((was, now), 0) for now in (*names, "LOST")}} for was in (*names, "NEW")
    ]
    show_table(f"{report.scheme}: {report.first} -> {report.last}", rows)
    show_table(
        "Balance: at_start = stayed + moved_out + lost, at_end = stayed + moved_in + new",
        [vars(s) for s in report.segments],
    )
    for w in report.warnings:
        print(f"warning: {w}")
