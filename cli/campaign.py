"""``huaxiang campaign check | plan | assign | deliver | results | learn``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from campaigns.goals import GOALS
from campaigns.language import ABOVE, HELD_OUT, OUTCOMES, STAGES, Outcome
from cli.session import (
    HERE,
    AgainOption,
    EngineOption,
    ForceOption,
    FullOption,
    JsonOption,
    OutOption,
    ProjectOption,
    ReleaseOption,
    WhoOption,
    asker,
    engine_of,
    open_project,
    show_json,
    show_table,
    tell_which_release,
    verb,
)
from project.campaign import campaign_mistakes
from schemas.errors import UsageError
from schemas.money import money_text, money_words

campaign = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Campaign, by the name of its file.")]
StageOption = Annotated[
    list[str] | None,
    typer.Option("--stage", help=f"Stages to assign, of {', '.join(STAGES)}; default: all that are not over."),
]
NOBODYS = {HELD_OUT: "留出组 held out", ABOVE: "全局留出组 held out of every campaign"}


@campaign.command("check")
@verb
def check(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Every campaign with its days; mistakes name file, line and the nearest known key."""
    p = open_project(project)
    mistakes = [m for m in campaign_mistakes(p) if m is not None]
    found = [] if mistakes else list(p.campaigns.values())
    rows = [
        {
            "campaign": c.id,
            "zh": c.definition.name.zh,
            "en": c.definition.name.en,
            "owner": c.definition.owner,
            "d_day": c.definition.d_day,
            "stages": [f"{STAGES[s].zh} {s}" for s, _ in c.definition.stages.there],
            "audiences": list(c.audiences),
            "holdout": c.definition.holdout,
        }
        for c in found
    ]
    if as_json:
        show_json({"campaigns": rows, "mistakes": mistakes})
    elif mistakes:
        print("\n".join(mistakes))
        print(f"{len(mistakes)} mistakes.")
    elif rows:
        show_table(
            "活动 Campaigns", [{k: ", ".join(v) if isinstance(v, list) else v for k, v in r.items()} for r in rows]
        )
    else:
        print("There are no campaigns yet: write one into campaigns/NAME.yaml.")
    if mistakes:
        raise typer.Exit(3)


@campaign.command("plan")
@verb
def plan(
    name: Annotated[str | None, typer.Argument(help="Campaign, by the name of its file; none with --goal.")] = None,
    goal: Annotated[
        str | None,
        typer.Option(
            help="Before there is a campaign: where the shop is short of a goal, and who can close it. "
            f"One of {', '.join(f'{g} {k.name.zh}' for g, k in GOALS.items())}."
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="With --goal: segments to show of each segmentation.")] = 3,
    release: ReleaseOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What the goal asks of each AIPL stage, who could bring it, what to expect, and the smallest lift to be seen."""
    from queries.campaign_plan import campaign_plan

    if (name is None) == (goal is None):
        raise UsageError("say a campaign, or --goal and one of " + ", ".join(GOALS))
    p = open_project(project)
    tell_which_release(p, release)
    if name is None:
        from cli.campaign_goal import show_goal

        show_goal(p, goal or "", release, most, as_json)
        return
    found = campaign_plan(p, name, which=release)
    if as_json:
        show_json(found)
        return
    money = "" if found.goal_minor is None else " | ".join(money_words(found.goal_minor, p.currency))
    goal = money or f"{found.goal_users:,} 人 buying users"
    print(
        f"{found.zh} {found.en}: 目标 goal {goal}; D-day {found.d_day}, {found.days_to_d_day} days after {found.as_of} "
        f"(release {found.release})"
    )
    needs: list[dict[str, Any]] = [
        {
            "AIPL": f"{n.zh} {n.en}",
            "现有 users": n.users,
            "需要 needed": n.needed_users,
            "缺口 gap": n.gap_users,
            "富余 surplus": n.surplus_users,
            "CVR %": 100 * n.conversion,
            "已在此阶段 in it": _few(n.inside),
            "可补足 can fill": _few(n.fillers) if n.gap_users else "",
        }
        for n in found.needs
    ]
    if needs:
        show_table("目标倒推 What the goal asks of the shop's users", needs)
    reach = {a.audience: a for a in found.audiences} | {"合计（去重） together": found.together}
    show_table(
        "人群 Audiences",
        [{"audience": n, "users": a.users, "AIPL": _few(a.by_aipl)} for n, a in reach.items()],
    )
    if (e := found.expected) is not None:
        low, middle, high = (money_text(m, p.currency, exact=False) for m in (e.money_low, e.money_minor, e.money_high))
        print(
            f"预期 Expected of them within {e.horizon_days} days without any lift: {e.buyers:,.0f} buyers "
            f"(95 %: {e.buyers_low:,.0f} to {e.buyers_high:,.0f}), {middle} {p.currency} ({low} to {high})."
        )
        if e.needed_lift is None:
            print("They would reach the goal anyway.")
        else:
            print(f"达成目标需要提升 The goal needs a lift of {e.needed_lift:.0%} of who is not held out.")
    arms = [
        {
            "组别 arm": NOBODYS.get(a.arm, a.arm),
            "占比 share %": 100 * a.share,
            "人数 users": a.users,
            "已分组 assigned": a.assigned,
            "可见最小提升 smallest lift %": None if a.visible_lift is None else 100 * a.visible_lift,
        }
        for a in found.arms
    ]
    show_table("分组 Arms, and the smallest relative lift of the conversion that each will see", arms)
    stages = [
        {
            "阶段 stage": f"{s.zh} {s.en}",
            "days": f"{s.first} .. {s.last}",
            "channels": ", ".join(s.channels),
            "budget": "-" if s.budget_minor is None else money_text(s.budget_minor, p.currency),
            "指标 metric": f"{m.zh} {m.en}" if m else "-",
            "target": "-" if m is None else _number(m.target, m.is_money, p.currency),
            "so far": "-" if m is None or m.reached is None else _number(m.reached, m.is_money, p.currency),
            "missing": "-" if m is None else _number(m.missing, m.is_money, p.currency),
            "a day": "-" if m is None or m.per_day is None else _number(m.per_day, m.is_money, p.currency, 1),
        }
        for s in found.stages
        for m in (s.metrics or (None,))
    ]
    show_table(f"阶段 Stages (budget {money_text(found.budget_minor, p.currency)} {p.currency})", stages)
    _warn(found.warnings)


@campaign.command("assign")
@verb
def assign(
    name: NameArgument,
    release: ReleaseOption = None,
    stage: StageOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would get which arm; publish nothing.")] = False,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give everybody of the audiences an arm, before anything is exported. Who has one keeps it; who is new is added."""
    from jobs.campaigns.assign import assign_arms as step

    p = open_project(project)
    tell_which_release(p, release)
    with engine_of(p, engine) as e:
        found = step(p, name, which=release, stages=stage, dry_run=dry_run, engine=e)
    if as_json:
        show_json(found)
        return
    rows = [
        {
            "组别 arm": NOBODYS.get(arm, arm),
            "人数 users": n,
            "新增 added": found.added.get(arm, 0),
            "可见最小提升 smallest lift %": None if (v := found.visible_lift.get(arm)) is None else 100 * v,
        }
        for arm, n in found.users.items()
    ]
    kept = "would be added, nothing is published" if found.is_dry_run else "added; nobody moved"
    show_table(
        f"{found.campaign} at {found.as_of} (release {found.release}), stages {', '.join(found.stages)}: "
        f"{sum(found.added.values()):,} {kept}",
        rows,
    )
    _warn(found.warnings)


@campaign.command("deliver")
@verb
def deliver(
    name: NameArgument,
    to: Annotated[str, typer.Option(help="Platform, by the name of its file.")],
    stage: Annotated[
        str | None, typer.Option("--stage", help="Stage to deliver; default: the first that is not over.")
    ] = None,
    release: ReleaseOption = None,
    out: OutOption = None,
    again: AgainOption = False,
    full: FullOption = False,
    force: ForceOption = False,
    by: WhoOption = None,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """The files of a stage for a platform, one per audience and arm; who is held out is in none of them."""
    from cli.audience import show_delivery
    from jobs.campaigns.deliver import deliver_stage as step

    p = open_project(project)
    tell_which_release(p, release)
    with engine_of(p, engine) as e:
        found = step(
            p,
            name,
            to=to,
            stage=stage,
            requested_by=asker(by),
            which=release,
            folder=out,
            again=again,
            full=full,
            force=force,
            engine=e,
        )
    if as_json:
        show_json(found)
        return
    kind = STAGES[found.stage]
    print(
        f"{found.campaign} {kind.zh} {found.stage} at {found.as_of} (release {found.release}) to {found.platform}: "
        f"{sum(d.rows for d in found.deliveries):,} rows; 留出 held out {found.held_out:,}"
    )
    for delivered in found.deliveries:
        show_delivery(delivered)
    _warn(found.assigned.warnings)


@campaign.command("results")
@verb
def results(
    name: NameArgument,
    release: ReleaseOption = None,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """What every arm brought more than the held out, with intervals, and how far the stages' metrics have come."""
    from campaigns.verdict import WORDS
    from jobs.campaigns.results import campaign_results as step

    p = open_project(project)
    tell_which_release(p, release)
    with engine_of(p, engine) as e:
        found = step(p, name, which=release, engine=e)
    if as_json:
        show_json(found)
        return

    def shown(value: float | None, outcome: Outcome) -> str:
        if value is None:
            return "-"
        return money_text(value, p.currency) if outcome == "net_amount" else f"{value:.4g}"

    def between(low: float | None, high: float | None, outcome: Outcome) -> str:
        return "-" if low is None else f"{shown(low, outcome)} .. {shown(high, outcome)}"

    for outcome in sorted(OUTCOMES, key=lambda o: o != found.outcome):
        mine = [a for a in found.arms if a.outcome == outcome]
        zh, en = OUTCOMES[outcome]
        rows: list[dict[str, Any]] = [
            {
                "组别 arm": a.arm,
                "人数 users": a.users,
                "留出 held": a.held_users,
                "均值 mean": shown(a.mean, outcome),
                "留出均值 held mean": shown(a.held_mean, outcome),
                "差值 difference": shown(a.difference, outcome),
                "95 %": between(a.difference_low, a.difference_high, outcome),
                "提升 lift %": None if a.relative_lift is None else 100 * a.relative_lift,
                "胜出 chance %": None if a.chance_to_win is None else 100 * a.chance_to_win,
            }
            for a in mine
        ]
        show_table(f"{zh} {en}" + (" *" if outcome == found.outcome else ""), rows)
        beside = [
            {
                "组别 arm": a.arm,
                "随时有效 always valid": between(a.sequential_low, a.sequential_high, outcome),
                "CUPED 差值 difference": shown(a.cuped_difference, outcome),
                "CUPED 95 %": between(a.cuped_low, a.cuped_high, outcome),
                "方差缩减 less variance %": None if a.variance_reduction is None else 100 * a.variance_reduction,
            }
            for a in mine
        ]
        show_table(f"{zh}: 其他算法 the same otherwise", beside)
    for a in (a for a in found.arms if a.outcome == found.outcome):
        zh, en = WORDS[a.lift_verdict]
        seen = "" if a.visible_lift is None else f"; 可见最小提升 smallest lift to be seen {a.visible_lift:.1%}"
        power = "" if a.power is None else f"; 功效 power {a.power:.0%}"
        print(f"{a.arm}: {zh} {en}{seen}{power}")
    if found.arms and found.arms[0].sample_ratio_p is not None:
        print(f"样本比例检验 sample ratio p {found.arms[0].sample_ratio_p:.3g}")
    if (credit := found.attribution) is not None:
        for c in (a for a in found.arms if a.outcome == "orders" and a.cost_minor is not None):
            each = c.cost_per_added_order_minor
            per = "-" if each is None else money_text(each, p.currency)
            print(
                f"{c.arm}: 费用 cost {money_text(c.cost_minor or 0, p.currency)}, 每增量订单成本 cost of an added order {per}"
            )
        by_channel: dict[str, dict[str, Any]] = {}
        for k in credit.credits:
            row = by_channel.setdefault(
                k.channel,
                {
                    "渠道 channel": k.channel,
                    "触达 touches": k.touches,
                    "费用 cost": money_text(k.cost_minor, p.currency),
                },
            )
            row[k.method] = k.credited_orders
        show_table(
            f"归因 Orders credited to touches (credit is no cause; the lift above is): {credit.attributed_orders:,.0f} of "
            f"{credit.orders:,} had one before them",
            list(by_channel.values()),
        )
    if found.progress:
        show_table("阶段指标 Metrics of the stages", [_progress(m, p.currency) for m in found.progress])
    _warn(found.warnings)


@campaign.command("learn")
@verb
def learn(
    name: NameArgument,
    release: ReleaseOption = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write who has a found value as audiences/learnt_NAME.yaml.")
    ] = False,
    most: Annotated[int, typer.Option(min=1, help="Values to show.")] = 15,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Response and lift by value of every tag and by pairs of values, shrunk, and where the lift is above the campaign's own."""
    from jobs.campaigns.learn import learn as step

    p = open_project(project)
    tell_which_release(p, release)
    with engine_of(p, engine) as e:
        found = step(p, name, which=release, save=save, engine=e)
    if as_json:
        show_json(found)
        return

    def shown(value: float) -> str:
        return money_text(value, p.currency) if found.outcome == "net_amount" else f"{value:.4f}"

    zh, en = OUTCOMES[found.outcome]
    rows = [
        {
            "标签 tag": v.tag,
            "值 value": v.value,
            "人数 users": v.users,
            "留出 held": v.held_users,
            "响应 response": shown(v.response),
            "提升 lift": shown(v.difference),
            "收缩后 shrunk": shown(v.shrunk_lift),
            "95 %": f"{shown(v.shrunk_low)} .. {shown(v.shrunk_high)}",
            "q": round(v.q_value, 4),
            "发现 found": v.is_found,
        }
        for v in found.values[:most]
    ]
    own = "-" if found.own_lift is None else shown(found.own_lift)
    if rows:
        show_table(
            f"{zh} {en} by value of tags, the surest of {len(found.values)}; the campaign's own lift {own}", rows
        )
    pairs = [
        {
            "标签值 values": f"{v.tag} {v.value} + {v.other_tag} {v.other_value}",
            "人数 users": v.users,
            "留出 held": v.held_users,
            "提升 lift": shown(v.difference),
            "交互 interaction": shown(v.interaction),
            "收缩后 shrunk": shown(v.shrunk_interaction),
            "95 %": f"{shown(v.shrunk_low)} .. {shown(v.shrunk_high)}",
            "q": round(v.q_value, 4),
            "发现 found": v.is_found,
        }
        for v in found.pairs[:most]
    ]
    if pairs:
        show_table(f"{zh} {en} by two values together, the surest of {len(found.pairs)}", pairs)
    if found.values:
        print(
            f"成对 Pairs: {len(found.paired_tags)} 个标签两两组合，另有 {found.unpaired_tags} 个未组合 tags with each other, "
            f"{found.unpaired_tags} left out (most_pairs in methods/campaigns.yaml)"
        )
    if not found.found and not found.found_pairs:
        print(
            "没有任何标签值的提升高于整体。 No value's lift is above the campaign's own beyond chance; no audience is proposed."
        )
    elif found.proposal is not None:
        print(f"建议人群 Proposed audience: {found.proposal}")
    else:
        print(
            f"{len(found.found)} 个标签值 values, {len(found.found_pairs)} 对 pairs found; --save proposes them as an audience."
        )
    _warn(found.warnings)


def _progress(m: Any, currency: str) -> dict[str, Any]:
    from campaigns.metrics import METRICS

    known = METRICS[m.metric]
    is_money = known.counts == "net_amount"
    return {
        "阶段 stage": f"{STAGES[m.stage].zh} {m.stage}",
        "指标 metric": f"{known.zh} {known.en}",
        "target": _number(m.target, is_money, currency),
        "so far": _number(m.reached, is_money, currency),
        "of users": m.users,
    }


def _number(value: float, is_money: bool, currency: str, digits: int = 0) -> str:
    return money_text(value, currency, exact=False) if is_money else f"{value:,.{digits}f}"


def _few(counts: dict[str, int], most: int = 3) -> str:
    shown = [f"{name} {n:,}" for name, n in list(counts.items())[:most]]
    return ", ".join(shown) + (f" +{len(counts) - most}" if len(counts) > most else "")


def _warn(warnings: tuple[str, ...]) -> None:
    for w in warnings:
        print(f"warning: {w}")
