"""Who is who, by the rules of ``features/identity.py`` in SQL: table ``identifiers`` (id, uid, from_day, until_day).

An id is one text, the rank of its kind before its value (0 member, 1 phone, 2 unionid, 3 openid, 4 email, 5 device,
6 cookie, 7 guest), so that the order of texts is the order of priority.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb

MEMBER = "0"
KINDS = {
    "member": "0",
    "phone": "1",
    "unionid": "2",
    "openid": "3",
    "email": "4",
    "device": "5",
    "cookie": "6",
    "guest": "7",
}
POINTERS = 5
"""Steps from a cookie up to a phone."""


@dataclass(frozen=True)
class Ids:
    """Columns with ids of who acted, by kind; those of the other person; when; whether an id is the event's own."""

    at: str
    acted: dict[str, str]
    others: dict[str, str] = field(default_factory=dict)
    guest: str | None = None


_WEB = {"member": "member_id", "unionid": "unionid", "openid": "openid", "device": "device_id", "cookie": "cookie_id"}
_ANSWER = {k: _WEB[k] for k in ("member", "unionid", "openid")}
_SHARER = {"member": "sharer_member_id", "unionid": "sharer_unionid", "openid": "sharer_openid"}
LOGS = {
    "orders": Ids("ordered_at", _WEB, guest="order_id"),
    "refunds": Ids("refunded_at", {"member": "member_id"}),
    "browse": Ids("occurred_at", _WEB),
    "shares": Ids("occurred_at", _WEB, _SHARER),
    "coupons": Ids("occurred_at", {"member": "member_id"}),
    "surveys": Ids("answered_at", _ANSWER),
}
RECORD = {"member": "member_id", "phone": "phone", "unionid": "unionid", "openid": "openid"} | {
    "email": "email",
    "device": "device_id",
}


def coded(kind: str, column: str) -> str:
    return f"'{KINDS[kind]}' || {column}"


def strongest(ids: dict[str, str], guest: str | None = None) -> str:
    found = [coded(k, ids[k]) for k in KINDS if k in ids] + ([coded("guest", guest)] if guest else [])
    return f"coalesce({', '.join(found)})"


def build(con: duckdb.DuckDBPyConnection) -> None:
    _links(con)
    _members(con)
    _owners(con)
    _anonymous(con)
    _persons(con)


def _links(con: duckdb.DuckDBPyConnection) -> None:
    """``seen`` (id, moment, own_first, own_last) and ``pairs`` (a, b, day, verified), each once."""
    seen, pairs = [], []
    for feed, ids in LOGS.items():
        names = list(dict.fromkeys([*ids.acted.values(), *ids.others.values()]))
        guest = ""
        if ids.guest:
            none = " AND ".join(f"{c} IS NULL" for c in ids.acted.values())
            guest = f", CASE WHEN {none} THEN {ids.guest} END AS guest"
        con.execute(f"""
            CREATE TEMP TABLE ids_{feed} AS
            SELECT *, {strongest(ids.acted)} AS best FROM (
                SELECT {", ".join(names)}{guest}, min({ids.at}) AS first, max({ids.at}) AS last FROM {feed} GROUP BY ALL)""")
        for kind, column in ids.acted.items():
            own = f"CASE WHEN {coded(kind, column)} = best THEN"
            seen.append(
                f"SELECT {coded(kind, column)} AS id, first AS moment, {own} first END AS own_first, {own} last END AS own_last "
                f"FROM ids_{feed} WHERE {column} IS NOT NULL"
            )
        others = [*ids.others.items(), *([("guest", "guest")] if ids.guest else [])]
        for kind, column in others:
            seen.append(f"SELECT {coded(kind, column)}, first, first, last FROM ids_{feed} WHERE {column} IS NOT NULL")
        pairs += _pairs(f"ids_{feed}", ids.acted, "first")
    con.execute(f"""
        CREATE TEMP TABLE records AS
        SELECT {", ".join(RECORD.values())}, merged_into_member_id, inviter_member_id, phone_verified,
            min(source_time) AS first, max(source_time) AS last, min(least(source_time, registered_at)) AS seen_at
        FROM members GROUP BY ALL""")
    for kind, column in RECORD.items():
        own = "first, last" if kind == "member" else "NULL, NULL"
        seen.append(f"SELECT {coded(kind, column)}, seen_at, {own} FROM records WHERE {column} IS NOT NULL")
    for column in ("merged_into_member_id", "inviter_member_id"):
        seen.append(f"SELECT {coded('member', column)}, seen_at, NULL, NULL FROM records WHERE {column} IS NOT NULL")
    pairs += _pairs("records", RECORD, "first", phones=True)
    pairs.append(
        "SELECT '0' || least(member_id, merged_into_member_id), '0' || greatest(member_id, merged_into_member_id), "
        "first, NULL FROM records WHERE member_id <> merged_into_member_id"
    )
    con.execute(f"""
        CREATE TEMP TABLE seen AS
        SELECT id, min(moment) AS moment, min(own_first) AS own_first, max(own_last) AS own_last
        FROM ({" UNION ALL ".join(seen)}) GROUP BY id""")
    con.execute(f"""
        CREATE TEMP TABLE pairs AS
        SELECT a, b, CAST(min(moment) AS DATE) AS day, bool_or(verified) AS verified
        FROM ({" UNION ALL ".join(pairs)}) GROUP BY a, b""")


def _pairs(table: str, ids: dict[str, str], at: str, phones: bool = False) -> list[str]:
    """Ids of one row: with the member where the row names one, among themselves where it names none."""
    found, kinds = [], [k for k in KINDS if k in ids]
    for i, kind in enumerate(kinds):
        for other in kinds[i + 1 :]:
            alone = "" if kind == "member" else f" AND {ids['member']} IS NULL"
            verified = "phone_verified" if phones and (kind, other) == ("member", "phone") else "NULL::BOOLEAN"
            found.append(
                f"SELECT {coded(kind, ids[kind])} AS a, {coded(other, ids[other])} AS b, {at} AS moment, {verified} AS verified "
                f"FROM {table} WHERE {ids[kind]} IS NOT NULL AND {ids[other]} IS NOT NULL{alone}"
            )
    return found


def _members(con: duckdb.DuckDBPyConnection) -> None:
    """``labels`` (member, label): the smallest member of all that are merged or have a verified phone in common."""
    con.execute(f"""
        CREATE TEMP TABLE edges AS
        WITH phones AS (SELECT a AS member, b AS phone FROM pairs WHERE verified),
        holders AS (SELECT phone, min(member) AS holder FROM phones GROUP BY phone),
        one AS (
            SELECT a, b FROM pairs WHERE a[1] = '{MEMBER}' AND b[1] = '{MEMBER}'
            UNION SELECT holder, member FROM phones JOIN holders USING (phone) WHERE member <> holder
        )
        FROM one UNION SELECT b, a FROM one""")
    con.execute("CREATE TEMP TABLE labels AS SELECT a AS member, least(a, min(b)) AS label FROM edges GROUP BY a")
    changed = 1
    while changed:
        con.execute("""
            CREATE OR REPLACE TEMP TABLE settled AS
            WITH passed AS (
                SELECT e.a AS member, min(l.label) AS label FROM edges e JOIN labels l ON l.member = e.b GROUP BY e.a
            ), best AS (
                SELECT l.member, least(l.label, p.label) AS label, l.label AS was
                FROM labels l JOIN passed p USING (member)
            )
            SELECT b.member, least(b.label, j.label) AS label, b.was FROM best b JOIN labels j ON j.member = b.label""")
        found = con.execute("SELECT count(*) FROM settled WHERE label <> was").fetchone()
        changed = found[0] if found else 0
        con.execute("CREATE OR REPLACE TEMP TABLE labels AS SELECT member, label FROM settled")


def _owners(con: duckdb.DuckDBPyConnection) -> None:
    """``owners`` (id, person, shared_day): ids that reach a member, by a row of their own or through one other id."""
    con.execute(f"""
        CREATE TEMP TABLE direct AS
        WITH proven AS (SELECT DISTINCT b FROM pairs WHERE verified),
        linked AS (
            SELECT p.b AS id, coalesce(l.label, p.a) AS member, min(p.day) AS day
            FROM pairs p LEFT JOIN proven v ON v.b = p.b LEFT JOIN labels l ON l.member = p.a
            WHERE p.a[1] = '{MEMBER}' AND p.b[1] <> '{MEMBER}' AND (v.b IS NULL OR coalesce(p.verified, false))
            GROUP BY ALL
        )
        SELECT id, found[1].member AS member, found[1].day AS day, found[2].day AS shared_day
        FROM (SELECT id, min({{day: day, member: member}}, 2) AS found FROM linked GROUP BY id)""")
    con.execute(f"""
        CREATE TEMP TABLE between_ids AS SELECT a, b, day FROM pairs WHERE a[1] <> '{MEMBER}' AND b[1] <> '{MEMBER}'""")
    con.execute("""
        CREATE TEMP TABLE owners AS
        WITH steps AS (
            SELECT a AS id, b AS near, day FROM between_ids UNION ALL SELECT b, a, day FROM between_ids
        ), reached AS (
            SELECT s.id, d.member, greatest(s.day, d.day) AS day,
                CASE WHEN d.shared_day IS NOT NULL THEN greatest(s.day, d.shared_day) END AS until_day,
                CASE WHEN d.shared_day IS NULL THEN 1 ELSE 2 END AS level
            FROM steps s JOIN direct d ON d.id = s.near ANTI JOIN direct mine ON mine.id = s.id
        ), best AS (
            SELECT id, member, min(day) AS day, min(until_day) AS until_day FROM reached
            JOIN (SELECT id, min(level) AS level FROM reached GROUP BY id) USING (id, level) GROUP BY id, member
        ), ordered AS (
            SELECT id, min({day: day, member: member}, 2) AS found, min(until_day) AS until_day FROM best GROUP BY id
        )
        SELECT id, member AS person, shared_day FROM direct
        UNION ALL
        SELECT id, found[1].member, least(found[2].day, until_day) FROM ordered""")


def _anonymous(con: duckdb.DuckDBPyConnection) -> None:
    """``roots`` (id, person): the strongest id that an id without any member leads to."""
    con.execute("""
        CREATE TEMP TABLE pointers AS
        SELECT b AS id, min({rank: a[1], day: day, a: a}).a AS person
        FROM between_ids ANTI JOIN owners x ON x.id = a ANTI JOIN owners y ON y.id = b GROUP BY b""")
    con.execute("CREATE TEMP TABLE roots AS FROM pointers")
    for _ in range(POINTERS - 1):
        con.execute("""
            CREATE OR REPLACE TEMP TABLE roots AS
            SELECT r.id, coalesce(p.person, r.person) AS person FROM roots r LEFT JOIN pointers p ON p.id = r.person""")


def _persons(con: duckdb.DuckDBPyConnection) -> None:
    """Days of every id with its person, numbered in order of the first event; a person needs an event of their own."""
    con.execute("""
        CREATE TEMP TABLE persons AS
        WITH belongs AS (
            SELECT id, person, shared_day FROM owners
            UNION ALL SELECT id, person, NULL FROM roots
            UNION ALL SELECT member, label, NULL FROM labels
        ), placed AS (
            SELECT s.*, coalesce(b.person, s.id) AS person, b.shared_day FROM seen s LEFT JOIN belongs b USING (id)
        )
        SELECT id, person, NULL::DATE AS from_day, shared_day AS until_day, moment, moment AS known_at
        FROM placed SEMI JOIN (SELECT person FROM placed WHERE own_last IS NOT NULL) alive USING (person)
        UNION ALL
        SELECT id, id, shared_day, NULL, moment, greatest(own_first, CAST(shared_day AS TIMESTAMP))
        FROM placed WHERE shared_day <= CAST(own_last AS DATE)""")
    con.execute("""
        CREATE TABLE users AS
        SELECT row_number() OVER (ORDER BY first_seen_at, person) - 1 AS uid, person, first_seen_at
        FROM (SELECT person, min(known_at) AS first_seen_at FROM persons GROUP BY person)""")
    con.execute("""
        CREATE TABLE identifiers AS
        SELECT p.id, CAST(u.uid AS INTEGER) AS uid, p.from_day, p.until_day, p.moment AS first_seen_at
        FROM persons p JOIN users u USING (person)""")
