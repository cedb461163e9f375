"""The rows of an audience file: profile columns of the release, contacts and consent as they are now, and who is left out."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from audiences.contacts import contact
from audiences.language import Audience
from jobs.audience_columns import PROFILE, USERS, refuse_missing
from lake.lake import Lake
from lake.releases import Release
from schemas.contracts import NEWEST_FIRST

MEMBERS = "silver.members"
IDENTIFIERS = "identity.identifiers"

CONTACTS = """
with latest as (
    select * from members qualify row_number() over (partition by member_id order by {newest_first}) = 1
), persons as (
    -- A person may hold several member records: the newest contact counts, and one refusal is a refusal.
    select a.uid, m.*
    from asked a
    left join users u on u.uid = a.uid
    join identifiers i on i.uid = coalesce(u.merged_into_uid, a.uid) and i.id_kind = 'member' and i.until_day is null
    join latest m on m.member_id = i.id_value
)
select uid, bool_and(coalesce(marketing_consent, false)) as agreed, {columns}
from persons group by uid
"""


def rows_of(lake: Lake, audience: Audience, at: Release, uids: pa.Array) -> tuple[pa.Table, dict[str, int]]:
    """What the file holds of the members ``uids``, in order of uid, and how many of them are left out, by reason.

    With contacts: who is no member, gave no consent (unless consent is ignored) or has no valid contact is left out.
    """
    wanted = audience.definition.export
    table = _profile(lake, at, uids, list(dict.fromkeys([*wanted.columns, "uid"])))
    left_out = {"left the base": len(uids) - len(table)}
    if not wanted.contacts:
        return table.select(list(wanted.columns)), left_out
    found = _contacts(lake, table["uid"], list(wanted.contacts))
    place = pc.index_in(table["uid"], found["uid"])
    left_out["no member"] = place.null_count
    table, found = table.filter(pc.is_valid(place)), found.take(pc.drop_null(place))
    if audience.definition.consent == "required":
        agreed = found["agreed"]
        left_out["no marketing consent"] = len(found) - (pc.sum(agreed).as_py() or 0)
        table, found = table.filter(agreed), found.filter(agreed)
    for kind, how in wanted.contacts.items():
        made = [contact(kind, v, how, wanted.region, wanted.phone_form) for v in found[kind].to_pylist()]
        table = table.append_column(kind, pa.array(made, pa.string()))
    reachable = pa.array([False] * len(table), pa.bool_())
    for kind in wanted.contacts:
        reachable = pc.or_(reachable, pc.is_valid(table[kind]))
    left_out["no valid contact"] = len(table) - (pc.sum(reachable).as_py() or 0)
    return table.filter(reachable).select([*wanted.columns, *wanted.contacts]), left_out


def _profile(lake: Lake, at: Release, uids: pa.Array, columns: list[str]) -> pa.Table:
    files = lake.files(PROFILE, at.tables.get(PROFILE), where={"as_of": at.as_of})
    stored = [c for c in columns if c != "as_of"]
    refuse_missing(at, [f.path for f in files], stored)
    parts = [pads.dataset(f.path).to_table(columns=stored, filter=pads.field("uid").isin(uids)) for f in files]
    if not parts:
        parts = [pa.table({c: pa.array([], pa.int64() if c == "uid" else pa.null()) for c in stored})]
    table = pa.concat_tables(parts).sort_by("uid").combine_chunks()
    if "as_of" in columns:
        table = table.append_column("as_of", pa.array([at.as_of] * len(table), pa.date32()))
    return table


def _contacts(lake: Lake, uids: pa.ChunkedArray, kinds: list[str]) -> pa.Table:
    """Per uid that is a member now: whether all its records agree to marketing, and the newest contacts."""
    import duckdb

    newest = ", ".join(
        f"arg_max({k}, row(coalesce(source_time, _ingested_at), member_id)) filter ({k} is not null) as {k}"
        for k in kinds
    )
    with duckdb.connect() as db:
        db.register("asked", pa.table({"uid": uids}))
        for name, table in (("members", MEMBERS), ("identifiers", IDENTIFIERS), ("users", USERS)):
            db.register(name, lake.dataset(table))
        return db.sql(CONTACTS.format(columns=newest, newest_first=NEWEST_FIRST)).to_arrow_table()
