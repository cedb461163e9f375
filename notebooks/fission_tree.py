# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The fission tree 裂变树: who brought whom
# Every person who was brought has one parent: the sharer whose share they opened first before joining
# (docs/definitions.md section 7). The project is the folder that `HUAXIANG_PROJECT` names, else `demo`.

# %%
import os
from collections import Counter
from pathlib import Path

import pandas as pd
import plotly.express as px
from IPython.display import display

from lake.releases import release
from lake.sql import connect
from project.folder import Project

project = Project.load(Path(os.environ.get("HUAXIANG_PROJECT", "../demo")))
at = release(project.lake)
con = connect(project.lake, at)
day = {"day": at.as_of}
print(f"release {at.number} of {at.as_of}")

# %% [markdown]
# ## What became of every touch
# Opened shares, groups joined through a sharer, and registrations or member records that name the inviter. Each ends in
# exactly one outcome, so the rows sum to what came in.

# %%
touches = con.execute(
    "select touch_outcome, touch_kind, touches from fission.touches where as_of = $day and touches > 0 order by touches desc",
    day,
).df()
px.bar(
    touches, x="touches", y="touch_outcome", color="touch_kind", orientation="h", title="Touches by what became of them"
)

# %% [markdown]
# ## Reached and won
# Trees of everybody who was touched, joined or not, beside those of the people who were won.

# %%
reached = con.execute(
    """
    select 'reached' as tree, count(*) as trees, sum(tree_users)::bigint as people, max(tree_depth) as deepest,
      avg(structural_virality) as virality from fission.reach_trees where as_of = $day
    union all
    select 'won', count(*), sum(tree_users)::bigint, max(tree_depth), avg(structural_virality)
    from fission.share_trees where as_of = $day
    """,
    day,
).df()
reached

# %% [markdown]
# ## Trees
# One row per root. A deep tree is passed on from hand to hand; a broad one hangs on one person. Structural virality is the
# mean distance between any two people of it: near 2 for a star, growing with depth.

# %%
trees = con.execute(
    """
    select root_uid, tree_users, tree_depth, largest_hub_users, structural_virality, community_structure, tree_conversions
    from fission.share_trees where as_of = $day order by tree_users desc, root_uid
    """,
    day,
).df()
px.scatter(
    trees, x="tree_users", y="structural_virality", color="tree_depth", symbol="community_structure", log_x=True,
    hover_data=["root_uid", "largest_hub_users"], title=f"{len(trees):,} trees",
)  # fmt: skip

# %% [markdown]
# ## One tree, person by person
# The largest. Change `root` to look at another.

# %%
root = int(trees["root_uid"].iloc[0]) if len(trees) else -1
tree = con.execute(
    """
    select e.uid, e.parent_uid, e.level, e.fission_kind, e.joined_at, p.purchase_days_ever > 0 as bought
    from fission.share_edges e left join profile.profile p on p.uid = e.uid and p.as_of = $day
    where e.as_of = $day and e.root_uid = $root order by e.level, e.joined_at
    """,
    {**day, "root": root},
).df()
top = pd.DataFrame({"uid": [root], "parent_uid": [None], "level": [0], "bought": [None]})
drawn = pd.concat([top, tree[["uid", "parent_uid", "level", "bought"]].astype(object)])
drawn["name"] = drawn["uid"].map(lambda uid: f"uid {uid}")
drawn["parent"] = drawn["parent_uid"].map(lambda uid: "" if pd.isna(uid) else f"uid {uid}")
px.icicle(drawn, names="name", parents="parent", color="level", title=f"The tree of uid {root}")

# %%
breadth = tree.groupby("level").size().rename("people")
px.funnel(breadth.reset_index(), x="people", y="level", title="Breadth per level")

# %% [markdown]
# ## Virality by hand
# The sum of distances over all ordered pairs needs no pairs: an edge above a subtree of s of n people lies on s (n - s)
# paths, twice. So the mean is 2 / (n (n - 1)) times the sum over all edges.

# %%
parents = dict(zip(tree["uid"], tree["parent_uid"], strict=True))
below: Counter[int] = Counter()
for uid in parents:
    above = uid
    while above in parents:
        below[above] += 1
        above = parents[above]
n = len(parents) + 1
by_hand = 2 * sum(s * (n - s) for s in below.values()) / (n * (n - 1)) if n > 1 else None
stored = float(trees["structural_virality"].iloc[0]) if len(trees) else None
print(f"{n} people: {by_hand} by hand, {stored} in fission.share_trees")

# %% [markdown]
# ## Does it spread?
# K factor by day of sharing: invites per active user times accepted per invite. Above 1 every generation is larger than the
# last. The latest days are low because their invites may still be accepted.

# %%
daily = con.execute(
    "select cohort_day, k_factor, cycle_hours, invites, accepted from fission.share_daily where as_of = $day order by 1",
    day,
).df()
px.line(daily, x="cohort_day", y="k_factor", hover_data=["invites", "accepted", "cycle_hours"], title="K factor by day")

# %% [markdown]
# ## Who carries it
# 联络员 connectors reach many and bridge groups, 内行 mavens are early and wide, 推销员 salesmen convert.

# %%
con.execute(
    """
    select primary_role, count(*) as users, median(share_breadth) as median_reach, sum(share_children)::bigint as brought,
      count(*) filter (is_seed_user) as seed_users
    from fission.roles where as_of = $day group by 1 order by users desc
    """,
    day,
).df()

# %% tags=["result"]
display(
    {
        "application/json": {
            "touches": {str(k): int(v) for k, v in touches.groupby("touch_outcome")["touches"].sum().items()},
            "reached": {r.tree: int(r.people) for r in reached.itertuples()},
            "trees": len(trees),
            "brought": int(
                con.execute("select count(*) from fission.share_edges where as_of = $day", day).fetchall()[0][0]
            ),
            "largest": {"root_uid": root, "users": n, "levels": {str(k): int(v) for k, v in breadth.items()}},
            "virality_by_hand": by_hand,
            "virality_stored": stored,
        }
    },
    raw=True,
)
