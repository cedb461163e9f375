"""Touches as SQL over a release: each in its newest version, with the person whom it was meant for."""

from __future__ import annotations

from schemas.contracts import NEWEST_FIRST

TOUCHES = "silver.touches"
SEEN = ("exposed", "clicked")
"""States of a touch that has credit: it was seen. What was only sent or delivered costs, and convinces nobody."""


def whose(
    only: str = "true", until: str = "true", touches: str = "touches", users: str = "users", ids: str = "identifiers"
) -> str:
    """Touches of which ``only`` and ``until`` hold (conditions on columns of the feed, on ``day``); the others name the tables.

    ``uid`` is absent where nobody is known by the id.
    """
    return f"""
with latest as (
    select * from {touches} where {only}
    qualify row_number() over (partition by event_id order by {NEWEST_FIRST}) = 1
), named as (
    select t.*, cast(t.occurred_at as date) as day, u.uid as by_user_id
    from latest t left join {users} u on u.user_id = t.user_id
), known as (
    select n.* exclude (by_user_id), coalesce(n.by_user_id, i.uid) as uid
    from named n left join {ids} i
        on n.by_user_id is null and i.id_kind = 'member' and i.id_value = n.member_id
        and (i.from_day is null or i.from_day <= n.day) and (i.until_day is null or n.day < i.until_day)
    where {until}
)
select coalesce(e.merged_into_uid, k.uid) as uid, epoch_us(k.occurred_at) as at, k.day, k.campaign, k.stage, k.channel,
    k.content_id, k.touch_state, coalesce(k.cost_minor, 0) as cost_minor
from known k left join {users} e on e.uid = k.uid
"""


WHOSE = whose("campaign = $campaign", "n.day <= $as_of", TOUCHES, "identity.users", "identity.identifiers")
"""Touches of ``$campaign`` up to ``$as_of``."""
