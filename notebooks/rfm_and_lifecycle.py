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
# # RFM and the lifecycle's curves, explained on real orders
# UCI Online Retail (Daqing Chen, CC BY 4.0): a British gift shop, December 2010 to December 2011. Make the project once:
#
#     huaxiang demo --data online-retail --file FILE --dir uci
#
# `HUAXIANG_PROJECT` names another folder; any shop's project will do. Scores and curves below are made a second time,
# from the purchase days alone, so that one can see what each number is.

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from IPython.display import display

from lake.releases import release
from lake.sql import connect
from project.folder import Project
from schemas.behaviours import BEHAVIOURS

project = Project.load(Path(os.environ.get("HUAXIANG_PROJECT", "../uci")))
at = release(project.lake)
con = connect(project.lake, at)
day = {"day": at.as_of}
print(f"release {at.number} of {at.as_of}: {at.counts}")

# %% [markdown]
# ## Purchase days
# Frequency counts days with a valid order, not orders: two orders of one afternoon are one decision to buy. Valid on a
# day means paid by then, and neither void nor held by then (docs/definitions.md section 0).

# %%
purchases = con.execute(
    """
    select distinct uid, day from activity.activity
    where behaviour_code = $pay and day <= $day and valid_from_day <= $day
      and (void_day is null or void_day > $day) and (flagged_day is null or flagged_day > $day)
      and uid in (select uid from profile.profile where as_of = $day)
    order by uid, day
    """,
    {"pay": BEHAVIOURS["pay"], **day},
).df()
per_user = purchases.groupby("uid")["day"].agg(["count", "max"]).rename(columns={"count": "purchase_days"})
px.histogram(per_user, x="purchase_days", title="Customers by purchase days", log_y=True)

# %% [markdown]
# ## Scores from cuts
# Among the buyers of 365 days the cuts are quantiles of type 7, and a score counts how many lie below the value: intervals
# are (low, high], so with tied cuts a score can be empty. Recency counts from above: fewer days, higher score.

# %%
profile = con.execute(
    """
    select uid, days_since_last_purchase as r, purchase_days_365d as f, net_amount_365d as m,
      rfm_recency, rfm_frequency, rfm_monetary, rfm_segment
    from profile.profile where as_of = $day and purchase_days_365d > 0
    """,
    day,
).df()
cuts = {c: np.quantile(profile[c].astype(float), [0.2, 0.4, 0.6, 0.8]) for c in "rfm"}
scores = pd.DataFrame(
    {
        "rfm_recency": 5 - np.searchsorted(cuts["r"], profile["r"].astype(float)),
        "rfm_frequency": 1 + np.searchsorted(cuts["f"], profile["f"].astype(float)),
        "rfm_monetary": 1 + np.searchsorted(cuts["m"], profile["m"].astype(float)),
    }
)
differing = int((scores != profile[scores.columns].astype(int)).any(axis=1).sum())
print({k: [float(c) for c in v] for k, v in cuts.items()}, f"{differing} of {len(profile):,} customers score otherwise")

# %%
sizes = profile["rfm_segment"].value_counts().rename_axis("segment").reset_index(name="customers")
px.treemap(sizes, path=["segment"], values="customers", title="The eleven segments of the 125 score codes")

# %% [markdown]
# ## Who buys again?
# Of the customers with n purchase days, how many had another? The step from one to two loses most; whoever bought often
# buys again. `huaxiang` looks for a knee in this curve, and says so when there is none.
#
# Mind who is counted: an order without a customer number (a guest) is a person of one order, and pulls the first step down.
# Of the customers with a number 64.3 % bought on a second day.

# %%
counts = per_user["purchase_days"].to_numpy()
n = np.arange(1, 21)
again = pd.DataFrame({"n": n, "customers": [(counts >= k).sum() for k in n], "again": [(counts > k).sum() for k in n]})
again["share"] = again["again"] / again["customers"]
stored = con.execute(
    """
    select x as n, y, low, high from segments.curves
    where curve = 'repurchase' and x <= 20 and as_of = (select max(as_of) from segments.curves where as_of <= $day)
    order by x
    """,
    day,
).df()
members = con.execute("select uid from profile.profile where as_of = $day and is_member", day).df()["uid"]
of_members = per_user.loc[per_user.index.isin(members), "purchase_days"]
print(
    f"bought on a second day: {(counts >= 2).mean():.1%} of all, {(of_members >= 2).mean():.1%} of {len(of_members):,} members"
)
figure = px.line(
    again, x="n", y="share", markers=True, title="Had another purchase day, by hand (line) and stored (dots)"
)
figure.add_trace(go.Scatter(x=stored["n"], y=stored["y"], mode="markers", name="segments.curves"))
figure

# %% [markdown]
# ## How long is a silence?
# A gap runs from one purchase day to the next; the last one is still open, so it says only "at least so long". Kaplan and
# Meier (1958) use both: on every day, of the gaps still watched, the share that ends. Without the open gaps the curve would
# promise returns that never came.

# %%
today = pd.Timestamp(at.as_of)
days = purchases.assign(day=pd.to_datetime(purchases["day"]))
days["next"] = days.groupby("uid")["day"].shift(-1)
days["ended"] = days["next"].notna()
days["gap"] = (days["next"].fillna(today) - days["day"]).dt.days


def returned(gaps: pd.DataFrame, until: int) -> pd.Series:
    """F(t): the share of gaps that have ended t days after they began, t = 0 ... until."""
    t = np.arange(until + 1)
    ends = np.bincount(gaps.loc[gaps["ended"], "gap"], minlength=until + 1)[: until + 1]
    at_risk = np.array([(gaps["gap"] >= d).sum() for d in t])
    return pd.Series(1 - np.cumprod(1 - ends / np.maximum(at_risk, 1)), index=t)


curve = returned(days, 300)
naive = days.loc[days["ended"], "gap"].value_counts(normalize=True).sort_index().cumsum()
figure = go.Figure(layout={"title": "Back within so many days: with open gaps, and without (too good to be true)"})
figure.add_trace(go.Scatter(x=curve.index, y=curve, name="Kaplan-Meier"))
figure.add_trace(go.Scatter(x=naive.index, y=naive, name="ended gaps only"))
figure

# %% [markdown]
# The cuts that this shop's lifecycle goes by, and what each rests on. `dormant_after` and `churned_after` are by class of
# purchase days; a default stands where there were too few gaps. `huaxiang tag show lifecycle` says the same in words.

# %%
con.execute(
    "select name, position, number, fitted_on from profile.breaks where as_of = $day and name in "
    "('purchase_day_cuts', 'dormant_after', 'churned_after') order by all",
    day,
).df()

# %% tags=["result"]
display(
    {
        "application/json": {
            "as_of": str(at.as_of),
            "buyers": len(profile),
            "scored_otherwise": differing,
            "customers": len(per_user),
            "repeat_rate": round(float((counts >= 2).mean()), 6),
            "repeat_rate_of_members": round(float((of_members >= 2).mean()), 6),
            "repurchase_stored": {str(int(r.n)): round(float(r.y), 9) for r in stored.itertuples()},
            "repurchase_by_hand": {str(int(r.n)): round(float(r.share), 9) for r in again.itertuples() if r.customers},
            "back_within_90_days": round(float(curve[90]), 6),
        }
    },
    raw=True,
)
