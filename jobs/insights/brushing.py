"""Topic ``brushing``: the figures of the last 365 days with and without orders held for brushing, and why they are held."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.insights.step import Insight, InsightRun, Row

FLAGS = "activity.order_flags"
WINDOW = 365
VIEWS = {"with_flagged": "include", "without_flagged": "exclude"}
TOTALS = """
select coalesce(sum(orders_{view}), 0)::bigint, count(*) filter (orders_{view} > 0),
       coalesce(sum(net_{view}), 0)::bigint
from facts semi join base using (uid)
"""
REASONS = f"""
select reason, count(*), count(distinct uid)
from (select uid, unnest(string_split(reasons, ',')) as reason from {FLAGS}
      where flagged_day <= $day and paid_day <= $day and paid_day > $day::date - {WINDOW})
group by reason order by reason
"""
ORDERS = f"""
select count(*), count(distinct uid) from {FLAGS}
where flagged_day <= $day and paid_day <= $day and paid_day > $day::date - {WINDOW}
"""


def insight(run: InsightRun) -> Insight:
    """Nothing without flags or on a day without profile. Money and orders are of valid orders of the base's users."""
    if run.lake.version(FLAGS) is None or run.as_of not in run.snapshots:
        return Insight()
    with run.sql() as con:
        found, users = con.execute(ORDERS, {"day": run.as_of}).fetchall()[0]
        figures: list[Row] = [_figure("flagged_orders", "", found, users), _figure("flagged_users", "", users, users)]
        figures += [
            _figure("flags_by_reason", reason, orders, of)
            for reason, orders, of in con.execute(REASONS, {"day": run.as_of}).fetchall()
        ]
        if paths := _facts(run):
            con.execute(f"create or replace temp view facts as select * from read_parquet({paths!r})")
            con.execute(
                f"create or replace temp view base as select uid from profile.profile where as_of = date '{run.as_of}'"
            )
            views = {view: con.execute(TOTALS.format(view=view)).fetchall()[0] for view in VIEWS}
            figures += _compared(views)
    return Insight(figures=figures)


def _facts(run: InsightRun) -> list[str]:
    """Files with every user's valid orders and net amount in both views."""
    measures = {"orders": ("orders", "count"), "net": ("net_amount", "sum")}
    facts = [
        {
            "id": f"{name}_{view}",
            "from": ["pay"],
            "measure": measure,
            "agg": agg,
            "window": WINDOW,
            "flagged": flagged,
        }
        for view, flagged in VIEWS.items()
        for name, (measure, agg) in measures.items()
    ]
    return run.facts("brushing", facts)


def _compared(views: dict[str, tuple[int, int, int]]) -> list[Row]:
    """Each figure with flagged orders, without them, and the difference (with - without)."""
    found: list[Row] = []
    for i, figure in enumerate(("orders", "buyers", "net_amount_minor")):
        found += _both(figure, (views[view][i] for view in VIEWS), (views[view][1] for view in VIEWS))
    means = [net / orders if orders else None for orders, _, net in (views[view] for view in VIEWS)]
    return found + _both("mean_order_minor", means, (views[view][0] for view in VIEWS))


def _both(figure: str, numbers: Iterable[float | None], samples: Iterable[int]) -> list[Row]:
    (whole, clean), (sample, clean_sample) = numbers, samples
    apart = None if whole is None or clean is None else whole - clean
    return [
        _figure(figure, "with_flagged", whole, sample),
        _figure(figure, "without_flagged", clean, clean_sample),
        _figure(figure, "difference", apart, sample - clean_sample),
    ]


def _figure(figure: str, item: str, number: float | None, sample: int) -> Row:
    return {"figure": figure, "item": item, "number": None if number is None else float(number), "sample_users": sample}
