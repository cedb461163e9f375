"""Touches of a campaign as SQL over a release: each in its newest version, with the person whom it was meant for."""

from __future__ import annotations

from schemas.contracts import NEWEST_FIRST

TOUCHES = "silver.touches"
SEEN = ("exposed", "clicked")
"""States of a touch that has credit: it was seen. What was only sent or delivered costs, and convinces nobody."""
WHOSE = f"""
with latest as (
    select * from silver.touches where campaign = $campaign
    qualify row_number() over (partition by event_id order by {NEWEST_FIRST}) = 1
), named as (
    select t.*, cast(t.occurred_at as date) as day, u.uid as by_user_id
    from latest t left join identity.users u on u.user_id = t.user_id
), known as (
    select n.* exclude (by_user_id), coalesce(n.by_user_id, i.uid) as uid
    from named n left join identity.identifiers i
        on n.by_user_id is null and i.id_kind = 'member' and i.id_value = n.member_id
        and (i.from_day is null or i.from_day <= n.day) and (i.until_day is null or n.day < i.until_day)
    where n.day <= $as_of
)
select coalesce(e.merged_into_uid, k.uid) as uid, epoch_us(k.occurred_at) as at, k.day, k.stage, k.channel, k.touch_state,
    coalesce(k.cost_minor, 0) as cost_minor
from known k left join identity.users e on e.uid = k.uid
"""
"""Touches of ``$campaign`` up to ``$as_of``; ``uid`` is absent where nobody is known by the id."""
