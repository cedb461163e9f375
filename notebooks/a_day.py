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
# # A day: who is where, and who moved 分群与流转
# One release, read three ways that must agree: SQL (what `huaxiang sql` does), pandas and Polars. The project is the
# folder that `HUAXIANG_PROJECT` names, `demo` (`make demo`) if it names none. A release pins the version of every
# table, so what is read here does not change while a run goes on.

# %%
import json
import os
from pathlib import Path

import plotly.express as px
import polars as pl
from IPython.display import display

from lake.releases import release
from lake.sql import connect
from project.folder import Project
from schemas.money import minor_digits

project = Project.load(Path(os.environ.get("HUAXIANG_PROJECT", "../demo")))
at = release(project.lake)
con = connect(project.lake, at)
day = {"day": at.as_of}
print(f"release {at.number} of {at.as_of}: {at.counts}")

# %% [markdown]
# ## Where everybody stands
# Every segmentation gives each user exactly one value (docs/definitions.md section 0), so its values sum to the base.
# Members and visitors apart: cookies would swamp every share.

# %%
segments = con.sql(
    """
    select scheme, segment, count(*) filter (is_member) as members, count(*) filter (not is_member) as visitors
    from segments.segments where as_of = $day group by all order by scheme, members desc
    """,
    params=day,
).df()
base = segments.groupby("scheme")[["members", "visitors"]].sum()
assert (base == base.iloc[0]).all().all(), "every segmentation holds everybody once"
segments.query("scheme == 'lifecycle'")

# %% [markdown]
# The same in Polars, straight from the Delta table at the version that the release pins:

# %%
table = "segments.segments"
stages = (
    pl.scan_delta(str(project.lake.path(table)), version=at.tables[table])
    .filter((pl.col("as_of") == at.as_of) & (pl.col("scheme") == "lifecycle"))
    .group_by("segment")
    .agg(pl.col("is_member").sum().alias("members"))
    .sort("members", descending=True)
    .collect()
)
in_pandas = segments.query("scheme == 'lifecycle'").set_index("segment")["members"].to_dict()
assert dict(stages.iter_rows()) == in_pandas, "Polars and SQL count the same people"
px.bar(stages, x="segment", y="members", title="Members by lifecycle stage 会员生命周期")

# %% [markdown]
# ## RFM
# Recency by frequency, members only. The cuts between the scores are the day's quantiles; they lie in `profile.breaks`.

# %%
matrix = con.sql(
    f"""
    select rfm_recency, rfm_frequency, count(*) as members,
      round(avg(net_amount_365d) / 1e{minor_digits(project.currency)}) as mean_spend
    from profile.profile where as_of = $day and is_member and rfm_recency is not null group by all
    """,
    params=day,
).df()
grid = matrix.pivot(index="rfm_recency", columns="rfm_frequency", values="members").sort_index(ascending=False)
px.imshow(grid, text_auto=True, title="Members by recency (rows) and frequency (columns)")

# %%
con.sql(
    "select name, position, number from profile.breaks where as_of = $day and name like 'rfm%' order by all", params=day
)

# %% [markdown]
# ## Who moved
# Flows count user by user between two released days. Of every stage: those of the earlier day = stayed + moved + left.

# %%
flows = con.sql(
    """
    select from_as_of, from_segment, to_segment, sum(users)::bigint as users
    from segments.segment_flows where as_of = $day and scheme = 'lifecycle'
      and from_as_of = (select max(from_as_of) from segments.segment_flows where as_of = $day)
    group by all
    """,
    params=day,
).df()
moved = flows.query("from_segment != to_segment").sort_values("users", ascending=False)
moved.head(20)

# %%
names = sorted({*flows["from_segment"], *flows["to_segment"]})
flow = moved.assign(source="from " + moved["from_segment"], target="to " + moved["to_segment"])
px.parallel_categories(
    flow.loc[flow.index.repeat(flow["users"].clip(upper=500))],
    dimensions=["source", "target"],
    title="Moves between stages",
)

# %% [markdown]
# ## What a number rests on
# Every tag's meaning, window and sources: `huaxiang tag show TAG`, `huaxiang tag lineage TAG`, docs/definitions.md. Its
# coverage and how far it moved:

# %%
con.sql(
    """
    select tag, round(known_users / base_users, 3) as coverage, psi, psi_28d, verdict from profile.tag_quality
    where as_of = $day and is_member order by psi desc nulls last limit 15
    """,
    params=day,
)

# %% tags=["result"]
display(
    {
        "application/json": {
            "release": at.number,
            "as_of": str(at.as_of),
            "members": int(base.iloc[0]["members"]),
            "visitors": int(base.iloc[0]["visitors"]),
            "lifecycle": json.loads(json.dumps({k: int(v) for k, v in in_pandas.items()})),
            "rfm_members": int(matrix["members"].sum()),
            "flow_users": int(flows["users"].sum()),
        }
    },
    raw=True,
)
