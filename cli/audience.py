"""``huaxiang audience list | preview | why | build | export`` and ``huaxiang user``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from audiences.funnel import IN_CHINESE
from cli.audience_insight import add_insight_to
from cli.audience_life import add_to
from cli.audience_people import add_people_to
from cli.card import show_card
from cli.session import (
    HERE,
    AgainOption,
    AsOfOption,
    DueOption,
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
    target_file,
    tell_which_release,
    verb,
)
from jobs.audiences import step as step
from jobs.audiences.build import Built
from jobs.audiences.export import Exported, refuse_held
from jobs.audiences.export import export as export_step
from lake import releases
from queries import preview as answer
from queries import user as person
from queries.side_card import SideCards
from report.card import write_card
from report.page import chosen_release
from schemas.errors import AlertedError, NotDueError, UsageError
from schemas.text import Text

audience = typer.Typer(no_args_is_help=True)
add_insight_to(audience)
add_people_to(audience)
add_to(audience)

NameArgument = Annotated[str, typer.Argument(help="Audience, by the name of its file.")]
SIGNS = {"true": "✓", "false": "✗", "unknown": "?"}


def _left_out(by_reason: dict[str, int]) -> str:
    return "".join(f", {n:,} left out: {reason}" for reason, n in by_reason.items() if n)


def _withheld(by_kind: dict[str, dict[str, int]]) -> list[str]:
    words = {"refused": "refused by another person", "repeated": "in the file already"}
    return [f"{n:,} of {kind} withheld: {words[why]}" for kind, found in by_kind.items() for why, n in found.items()]


def _rejected(by_column: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"{n:,} of {column}: {why} (rejected.csv)" for column, found in by_column.items() for why, n in found.items()
    ]


def _in_funnel(step: dict[str, Any]) -> dict[str, Any]:
    """A step of an export's funnel as a row: its words, who is left, who was lost and why."""
    lost = ", ".join(f"{n:,} {IN_CHINESE[why]} {why}" for why, n in step["lost"].items())
    return {"step": f"{step['zh']} {step['en']}", "people": step["people"], "lost": lost or None}


@audience.command("list")
@verb
def list_audiences(release: ReleaseOption = None, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Every audience with its last build, and whether it is in use and due on the release's day."""
    found = step.list_audiences(open_project(project), release)
    if as_json:
        show_json(found)
        return
    rows = [
        {
            "audience": a.audience,
            "zh": a.zh,
            "en": a.en,
            "owner": a.owner,
            "users": a.users,
            "built": a.built_as_of,
            "current": a.is_current,
            "folder": a.folder,
            "state": a.state,
            "expires": a.expires,
            "refresh": a.refresh,
            "due": a.is_due,
            "": (a.problem or a.waits or Text("", "")).en,
        }
        for a in found
    ]
    if rows:
        show_table("Audiences", rows)
    else:
        print("There are no audiences yet: write one into audiences/NAME.yaml.")
    return


@audience.command("preview")
@verb
def preview(
    name: NameArgument,
    release: ReleaseOption = None,
    sample: Annotated[int, typer.Option(min=0, max=100, help="Rows to show.")] = 10,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """How many people it would hold, condition by condition, and some of them. Publishes nothing and starts no engine."""
    p = open_project(project)
    tell_which_release(p, release)
    found = answer.preview(p, name, which=release, sample=sample)
    if as_json:
        show_json(found)
        return
    share = found.users / found.base_users if found.base_users else 0.0
    print(
        f"{found.audience} at {found.as_of} (release {found.release}): {found.users:,} of {found.base_users:,} users "
        f"({share:.2%}); {found.members:,} members, {found.anonymous:,} visitors"
    )
    print(f"An export now would hold {found.deliverable:,} of them{_left_out(found.left_out)}")
    for line in _withheld(found.contacts_withheld):
        print(f"  {line}")
    for warning in found.warnings:
        print(f"Note: {warning}")
    rows = [
        {
            "condition": "  " * s.depth + f"{s.zh} | {s.en}",
            "yes": s.true,
            "unknown": s.unknown,
            "left": s.remaining,
            "alone keeps out": s.alone,
        }
        for s in found.steps
    ]
    show_table("Condition by condition", rows)
    if found.sample:
        show_table("Some of them", found.sample)
    return


@audience.command("why")
@verb
def why(
    name: NameArgument,
    who: Annotated[
        str,
        typer.Argument(
            help="user_id or uid (uid:760 where a member has that number, too); with --member a member's own id."
        ),
    ],
    by_member_id: Annotated[bool, typer.Option("--member", help="WHO is a member id (restricted, logged).")] = False,
    purpose: Annotated[str, typer.Option(help="Why a member is looked up.")] = "",
    release: ReleaseOption = None,
    by: WhoOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Which condition decided for one person."""
    p = open_project(project)
    tell_which_release(p, release)
    at = releases.release(p.lake, release)
    uid = person.find_uid(p, who, at, by_member_id=by_member_id, requested_by=asker(by), purpose=purpose)
    found = step.why(p, name, uid, which=release)
    if as_json:
        show_json(found)
        return
    verdict = "is in" if found.is_in else "is not in"
    print(f"{found.user_id} {verdict} {found.audience} at {found.as_of} (release {found.release})")
    print(f"Decided by: {found.decided}")
    for f in found.findings:
        mark = "  <- decided" if f.decided else ""
        value = "" if f.value is None else f" (value: {f.value})"
        print(f"  {SIGNS[f.truth]} {'  ' * f.depth}{f.zh} | {f.en}{value}{mark}")
    return


@audience.command("build")
@verb
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Audiences; default: all.")] = None,
    release: ReleaseOption = None,
    reason: Annotated[str, typer.Option(help="Why a definition was changed; kept with its new version.")] = "",
    due: DueOption = False,
    by: WhoOption = None,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish the members at a release, and who entered and left since the last build.

    Without names, drafts and what is paused, expired or not due are passed over and said.
    """
    p = open_project(project)
    wanted = names or list(p.audiences)
    found: list[Built | Stopped] = []
    with engine_of(p, engine) as e:
        for name in wanted:
            try:
                found.append(
                    step.build(
                        p,
                        name,
                        which=release,
                        requested_by=asker(by),
                        reason=reason,
                        due=due or not names,
                        engine=e,
                    )
                )
            except NotDueError as stop:
                if names and len(names) == 1:
                    raise
                found.append(Stopped(name, str(stop), NotDueError.exit_code))
    if as_json:
        show_json(found)
    for b in () if as_json else found:
        if isinstance(b, Stopped):
            print(b.stopped)
            continue
        what = "built already" if b.already_built else f"{b.enters:,} entered, {b.exits:,} left"
        print(f"{b.audience} at {b.as_of} (release {b.release}): {b.users:,} users; {what}")
        for warning in b.warnings:
            print(f"  Note: {warning}")
    _end(found, asked=bool(names))


@audience.command("export")
@verb
def export(
    names: Annotated[list[str] | None, typer.Argument(help="Audiences; default: all.")] = None,
    release: ReleaseOption = None,
    to: Annotated[
        str | None, typer.Option(help="Platform, by the name of its file; default: the audience's own export.")
    ] = None,
    out: OutOption = None,
    again: AgainOption = False,
    full: FullOption = False,
    force: ForceOption = False,
    due: DueOption = False,
    by: WhoOption = None,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the files of an audience for a platform, with their manifest (builds the audience first if need be).

    Without names, drafts and what is paused, expired or not due are passed over and said.
    """
    p = open_project(project)
    wanted = names or list(p.audiences)
    if not force:
        refuse_held(p, wanted, release)
    found: list[Exported | Stopped] = []
    with engine_of(p, engine) as e:
        for name in wanted:
            try:
                made = export_step(
                    p,
                    name,
                    requested_by=asker(by),
                    to=to,
                    which=release,
                    folder=out,
                    again=again,
                    full=full,
                    force=force,
                    due=due or not names,
                    engine=e,
                )
            except AlertedError as stop:
                if len(wanted) == 1:
                    raise
                # It stops no other.
                found.append(Stopped(name, str(stop), AlertedError.exit_code))
            except NotDueError as stop:
                if names and len(names) == 1:
                    raise
                found.append(Stopped(name, str(stop), NotDueError.exit_code))
            else:
                found.append(made)
    if as_json:
        show_json(found)
    for x in () if as_json else found:
        if isinstance(x, Stopped):
            print(x.stopped)
        else:
            show_delivery(x)
    _end(found, asked=bool(names))


@dataclass(frozen=True)
class Stopped:
    """An audience that was not built or delivered, why, and what the verb would have ended with for it alone."""

    audience: str
    stopped: str
    exit_code: int


def _end(found: Sequence[Any], *, asked: bool) -> None:
    """End as what stopped says, an alert before the rest; who was not due is nothing unusual where nobody named them."""
    codes = {x.exit_code for x in found if isinstance(x, Stopped)} - (set() if asked else {NotDueError.exit_code})
    if codes:
        raise typer.Exit(min(codes))


def show_delivery(x: Exported) -> None:
    """Where the files lie, how many people are in them, and why the others are not."""
    state = "delivered before" if x.already_delivered else "delivered"
    goes = "" if x.platform is None else f" to {x.platform}"
    arm = "" if x.arm is None else f", arm {x.arm}"
    print(f"{x.audience}{arm} at {x.as_of}{goes}: {x.rows:,} rows {state}{_left_out(x.left_out)}")
    for path in (*(f"{x.folder}/{part['file']}" for part in x.parts), x.manifest):
        print(f"  {path}")
    if x.changes is not None:
        since = "; the first delivery" if x.changes["since"] is None else ""
        print(f"  {x.changes['added']:,} added 新增, {x.changes['removed']:,} removed 移除{since}")
    if x.uploaded is not None:
        print(f"  sent on 已上传: {x.uploaded['files']} files to {x.uploaded['to']}")
    show_table("", [_in_funnel(step) for step in x.funnel])
    for line in (*_withheld(x.contacts_withheld), *_rejected(x.rejected), *(f"Note: {n}" for n in x.notes)):
        print(f"  {line}")


@verb
def user(
    who: Annotated[
        str,
        typer.Argument(
            help="user_id or uid (uid:760 where a member has that number, too); with --member a member's own id."
        ),
    ],
    by_member_id: Annotated[bool, typer.Option("--member", help="WHO is a member id (restricted, logged).")] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show ids and contacts in clear (logged).")] = False,
    purpose: Annotated[str, typer.Option(help="Why personal data is looked at; needed with --reveal.")] = "",
    as_of: AsOfOption = None,
    release: ReleaseOption = None,
    side: Annotated[
        bool,
        typer.Option("--side", help="Only what a chat's side bar shows, as JSON: advice first, known tags, no ids."),
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the card as one HTML file.")] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language that the file opens in: zh or en.")] = "zh",
    by: WhoOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """One person's card: tags by group, RFM, stages with days, place in the share tree; ids masked."""
    if reveal and not purpose:
        raise UsageError("--reveal needs --purpose: what the personal data is looked at for; it is logged")
    if lang not in ("zh", "en"):
        raise UsageError(f"--lang is zh or en, not {lang!r}")
    p = open_project(project)
    tell_which_release(p, as_of or release)
    at = chosen_release(p, None if as_of is None else as_of.date(), release)
    uid = person.find_uid(p, who, at, by_member_id=by_member_id, requested_by=asker(by), purpose=purpose)
    if side:
        if reveal or html is not None:
            raise UsageError("--side shows no ids and writes no file; leave --reveal and --html out")
        show_json(SideCards(p, at.number).of(uid))
        return
    card = person.card(p, uid, which=at.number, reveal=reveal, requested_by=asker(by), purpose=purpose)
    if target_file(html, "--html") is not None:
        write_card(p, card, html, lang)  # type: ignore[arg-type]
    if as_json:
        show_json(card)
        return
    show_card(p, card)
    if html is not None:
        print(f"\nCard: {html}")
