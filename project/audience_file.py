"""The rows of an audience file: profile columns of the release, contacts and consent as they are now, and who is left out.

What a member said last of marketing holds until they say otherwise: a version without a word of it changes nothing. A
refusal is of a contact, not of a record: a number, address or id that stands in any version of a member who refused
leaves for nobody, whoever else has it too. Equal contacts leave once, with the eldest of the persons who have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from audiences.contacts import Withheld, hashed, leave_once, shaped
from audiences.language import Audience, Export
from lake.budget import in_memory
from lake.lake import Lake
from lake.releases import Release, lake_at
from project.audience import PROFILE, USERS, refuse_missing
from project.folder import UnknownConsent
from schemas.contracts import CONSENT_SAID_LAST, NEWEST_FIRST

MEMBERS = "silver.members"
IDENTIFIERS = "identity.identifiers"

REFUSED_ROWS = 10_000
INVALID = "no valid contact"
UNREACHED: dict[Withheld, str] = {
    "refused": "contact refused by another",
    "repeated": "contact is in the file already",
}
"""Why somebody with a valid contact has no row."""

LATEST = f"""latest as (
    select * replace ({CONSENT_SAID_LAST} as marketing_consent) from members
    qualify row_number() over (partition by member_id order by {NEWEST_FIRST}) = 1
)"""
CONTACTS = """
with {latest}, persons as (
    -- A person may hold several member records: the newest contact counts, and one refusal is a refusal.
    select a.uid, m.*
    from asked a
    left join users u on u.uid = a.uid
    join identifiers i on i.uid = coalesce(u.merged_into_uid, a.uid) and i.id_kind = 'member' and i.until_day is null
    join latest m on m.member_id = i.id_value
)
select uid, bool_or(coalesce(not marketing_consent, false)) as refused,
    bool_and(marketing_consent is not null) as known, {columns}
from persons group by uid order by uid
"""
REFUSED = """
with {latest} select distinct {kind} from members
where {kind} is not null and member_id in (select member_id from latest where not marketing_consent)
"""


@dataclass(frozen=True)
class FileRows:
    """What a file holds, in order of uid, and what it does not.

    ``left_out`` counts people of the audience who have no row, by reason. ``withheld`` counts contacts that were taken
    out of rows, by kind and reason; their person may still be there by another. ``notes`` are for who asks for the file.
    """

    table: pa.Table
    left_out: dict[str, int]
    withheld: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def file_rows(
    lake: Lake, audience: Audience, at: Release, uids: pa.Array, unknown: UnknownConsent = "refuse"
) -> FileRows:
    """What the file holds of the members ``uids``.

    With contacts: who is no member, did not agree (unless consent is ignored) or can be reached by no contact of the
    asked kinds is left out. ``unknown`` is what the project decided of records that say nothing of consent.
    """
    wanted = audience.definition.export
    table = _profile(lake, at, uids, list(dict.fromkeys([*wanted.columns, "uid"])))
    left_out = {"left the base": len(uids) - len(table)}
    if not wanted.contacts:
        return FileRows(table.select(list(wanted.columns)), left_out)
    with in_memory() as con:
        for name, source in (("members", MEMBERS), ("identifiers", IDENTIFIERS), ("users", USERS)):
            con.register(name, lake.dataset(source))
        found = _contacts(con, table["uid"], list(wanted.contacts))
        place = pc.index_in(table["uid"], found["uid"])
        left_out["no member"] = place.null_count
        table, found = table.filter(pc.is_valid(place)), found.take(pc.drop_null(place))
        notes = _notes(lake, len(found))
        refused: dict[str, set[str]] = {}
        if audience.definition.consent == "required":
            table, found = _who_agreed(table, found, unknown, left_out, notes)
            refused = {kind: _refused(con, kind, wanted, found[kind]) for kind in wanted.contacts}
    return _reached(table, found, wanted, refused, left_out, notes)


def _notes(lake: Lake, members: int) -> list[str]:
    if lake.version(MEMBERS) is None:
        return [
            "nobody can leave with a contact or id: no file of the feed members has been taken. A file that holds ids "
            "or contacts can have a second mapping, of that feed (docs/audiences.md, Export)"
        ]
    return [] if members else ["none of these people is a member, and contacts and ids leave for members only"]


def _who_agreed(
    table: pa.Table, found: pa.Table, unknown: UnknownConsent, left_out: dict[str, int], notes: list[str]
) -> tuple[pa.Table, pa.Table]:
    silent = pc.and_(pc.invert(found["refused"]), pc.invert(found["known"]))
    count = pc.sum(silent).as_py() or 0
    left_out["refused marketing"] = pc.sum(found["refused"]).as_py() or 0
    agreed = pc.invert(found["refused"])
    if unknown == "allow":
        if count:
            notes.append(f"{count:,} whose consent is not known count as agreed (unknown_consent in huaxiang.yaml)")
    else:
        left_out["consent is not known"] = count
        agreed = pc.and_(agreed, found["known"])
        if count and count == len(found):
            notes.append(
                "of none of these members it is known whether they agreed to marketing: map marketing_consent of feed "
                "members, or decide for all with unknown_consent: allow in huaxiang.yaml"
            )
    return table.filter(agreed), found.filter(agreed)


def _reached(
    table: pa.Table,
    found: pa.Table,
    wanted: Export,
    refused: dict[str, set[str]],
    left_out: dict[str, int],
    notes: list[str],
) -> FileRows:
    """Rows with at least one contact; why each other has none."""
    withheld: dict[str, dict[str, int]] = {}
    # of each row: True where a contact is left, and why one was withheld
    met: list[set[Withheld | bool]] = [set() for _ in range(len(table))]
    for kind, how in wanted.contacts.items():
        plain = (shaped(kind, v, wanted.region, wanted.phone_form) for v in found[kind].to_pylist())
        judged = list(leave_once(plain, refused.get(kind, ())))
        for row, (text, why) in zip(met, judged, strict=True):
            row.add(why or text is not None)
        if counts := Counter(why for _, why in judged if why is not None):
            withheld[kind] = dict(sorted(counts.items()))
        table = table.append_column(kind, pa.array([hashed(text, how) for text, _ in judged], pa.string()))
    for row in met:
        if True not in row:
            reason = next((words for why, words in UNREACHED.items() if why in row), INVALID)
            left_out[reason] = left_out.get(reason, 0) + 1
    kept = table.filter(pa.array([True in row for row in met], pa.bool_()))
    return FileRows(kept.select([*wanted.columns, *wanted.contacts]), left_out, withheld, tuple(notes))


def _profile(lake: Lake, at: Release, uids: pa.Array, columns: list[str]) -> pa.Table:
    paths = lake.local(lake_at(lake, at).files(PROFILE, where={"as_of": at.as_of}))
    stored = [c for c in columns if c != "as_of"]
    for path in paths[:1]:
        refuse_missing(at, pq.read_schema(path).names, stored)
    parts = [pads.dataset(path).to_table(columns=stored, filter=pads.field("uid").isin(uids)) for path in paths]
    if not parts:
        parts = [pa.table({c: pa.array([], pa.int64() if c == "uid" else pa.null()) for c in stored})]
    table = pa.concat_tables(parts).sort_by("uid").combine_chunks()
    if "as_of" in columns:
        table = table.append_column("as_of", pa.array([at.as_of] * len(table), pa.date32()))
    return table


def _contacts(con: duckdb.DuckDBPyConnection, uids: pa.ChunkedArray, kinds: list[str]) -> pa.Table:
    """Per uid that is a member now: whether a record refuses marketing, whether each says anything, the newest contacts."""
    newest = ", ".join(
        f"arg_max({k}, row(coalesce(source_time, _ingested_at), member_id)) filter ({k} is not null) as {k}"
        for k in kinds
    )
    con.register("asked", pa.table({"uid": uids}))
    return con.sql(CONTACTS.format(columns=newest, latest=LATEST)).to_arrow_table()


def _refused(con: duckdb.DuckDBPyConnection, kind: str, wanted: Export, asked: pa.ChunkedArray) -> set[str]:
    """Contacts among ``asked`` that anybody refused, as they would be delivered: only so do all their spellings compare.

    Who refused is read in pieces and only what could have left is kept, so memory is the audience's, not everybody's.
    """

    def told(texts: Iterable[str | None]) -> set[str]:
        shapes = (shaped(kind, text, wanted.region, wanted.phone_form) for text in texts)
        return {text for text in shapes if text is not None}

    leaving, found = told(asked.to_pylist()), set[str]()
    refused = con.execute(REFUSED.format(latest=LATEST, kind=kind))
    while leaving and (rows := refused.fetchmany(REFUSED_ROWS)):
        found |= told(text for (text,) in rows) & leaving
    return found
