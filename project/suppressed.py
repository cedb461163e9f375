"""People who get nothing now whatever they agreed to: those of do-not-contact lists, and those who had messages enough.

A list names people by any kind of id that feeds have; who holds the id today is left out, under whatever person they are
by now. Messages are counted from ``silver.touches`` of all campaigns, whose states of one message (sent, delivered, seen,
clicked) are one message.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from audiences.conditions import IdList
from audiences.funnel import CAPPED, DO_NOT_CONTACT
from audiences.id_files import USER_ID, id_kinds, ids_of, list_path
from audiences.reach_rules import MessageCap
from campaigns.touches import TOUCHES, whose
from lake.budget import in_memory
from lake.releases import Release
from project.audience import USERS
from project.folder import Project
from project.listings import read_ids
from project.platforms import Target
from schemas.errors import QuietError
from schemas.quarantine import literal

IDENTIFIERS = "identity.identifiers"
RULES = (DO_NOT_CONTACT, CAPPED)
"""Reasons in the order in which one is told of who has several."""
OUT = ("sent", "delivered", "exposed", "clicked")
"""States of a touch that say that there was a message."""
HOLDERS = {
    True: "select user_id as id, coalesce(merged_into_uid, uid) as uid from users",
    False: """
select i.id_value as id, coalesce(u.merged_into_uid, i.uid) as uid
from identifiers i left join users u on u.uid = i.uid where i.id_kind = $kind and i.until_day is null
""",
}
OFTEN = """
select uid from (
    select distinct uid, campaign, stage, channel, content_id, day from ({touches})
    where uid is not null and list_contains($out, touch_state) and day > $since
) group by uid having count(*) >= $messages
"""


def refuse_quiet(project: Project, target: Target, now: datetime | None = None) -> None:
    """QuietError where contacts or ids would leave in a quiet hour or on a quiet day of the shop."""
    local = (now or datetime.now(UTC)).astimezone(project.zone_info)
    rules = project.settings.reach
    if not target.platform.ids or not rules.is_quiet(local):
        return
    until = rules.quiet_until(local)
    said = "no hour that is not quiet is in sight" if until is None else f"from {until:%Y-%m-%d %H:%M} on it may"
    raise QuietError(
        f"{local:%Y-%m-%d %H:%M} ({project.zone}) is quiet by `reach:` of huaxiang.yaml, and nothing was delivered; {said}. "
        "--force delivers it now"
    )


def suppressed_people(project: Project, at: Release, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """A file of ``uid`` and ``reason``, each person once, and what must be told of the rules.

    ConfigurationError where a list cannot be read: nobody is written to because a file has gone.
    """
    rules, notes = project.settings.reach, []
    path = folder / "suppressed.parquet"
    if not rules.do_not_contact and not rules.caps:
        pq.write_table(pa.table({"uid": pa.array([], pa.int64()), "reason": pa.array([], pa.string())}), path)
        return path, ()
    with in_memory() as con:
        con.execute("create table found (uid bigint, reason varchar)")
        for name, source in (("users", USERS), ("identifiers", IDENTIFIERS)):
            con.register(name, project.lake.dataset(source))
        for listed in rules.do_not_contact:
            notes.append(_add_listed(con, project, listed))
        if rules.caps and project.lake.version(TOUCHES) is None:
            notes.append(
                "how often people were written to is not known: no file of the feed touches has been taken, so caps hold nobody back"
            )
        elif rules.caps:
            con.register("touches", project.lake.dataset(TOUCHES))
            for cap in rules.caps:
                _add_capped(con, cap, at)
        order = " ".join(f"when {literal(reason)} then {place}" for place, reason in enumerate(RULES))
        once = f"select uid, arg_min(reason, case reason {order} end) as reason from found group by uid order by uid"
        con.execute(f"copy ({once}) to {literal(str(path))} (format parquet)")
    return path, tuple(notes)


def rules_mark(project: Project) -> list[str]:
    """What the rules and their lists are known by: another says that somebody changed them."""
    rules = project.settings.reach
    found = [rules.model_dump_json()]
    for listed in rules.do_not_contact:
        about = list_path(project.folder, listed.file).stat()
        found.append(f"{about.st_mtime_ns} {about.st_size}")
    return found


def _add_listed(con: duckdb.DuckDBPyConnection, project: Project, listed: IdList) -> str:
    """People of one list; what to tell of it."""
    path = list_path(project.folder, listed.file)
    read_ids(con, listed.kind, ids_of(path, listed.kind, listed.column))
    kind = None if listed.kind == USER_ID else id_kinds()[listed.kind]
    con.execute(
        f"create or replace temp table holders as {HOLDERS[kind is None]}", {} if kind is None else {"kind": kind}
    )
    con.execute("insert into found select distinct uid, ? from asked join holders using (id)", [DO_NOT_CONTACT])
    ids, unknown = con.sql(
        "select count(*), count(*) filter (id not in (select id from holders)) from asked"
    ).fetchall()[0]
    con.execute("drop table lines; drop table given; drop table asked")
    return f"{listed.file}: {ids:,} ids ({listed.kind}) to which nothing is sent, {unknown:,} of them of nobody here"


def _add_capped(con: duckdb.DuckDBPyConnection, cap: MessageCap, at: Release) -> None:
    since = at.as_of - timedelta(days=cap.within_days)
    values = {"out": list(OUT), "since": since, "messages": cap.messages}
    con.execute(f"insert into found select uid, {literal(CAPPED)} from ({OFTEN.format(touches=whose())})", values)
