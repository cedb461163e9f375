"""Charts of spans: the days of a calendar, and numbers with their 95 % intervals. Plotly figures as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from report.blocks import Chart
from report.charts import ACCENT, GREY, LINE, SHADES, WARN, axis, greatest, label_text, row_height, tick_format
from schemas.text import Text

DAY = 86_400_000
"""Milliseconds, in which plotly counts on an axis of dates."""


@dataclass(frozen=True)
class CalendarRow:
    """Days of one row of a calendar, both included, and the day that it leads to."""

    row: Text
    kind: Text
    first: date
    last: date
    aim: date


def calendar(spans: Sequence[CalendarRow], today: date, says: Text, *, aim: Text, now: Text) -> Chart:
    """What runs when: a row a span, coloured by kind; ``aim`` and ``now`` name what each leads to and the day of the page."""
    kinds = list(dict.fromkeys(s.kind for s in spans))
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label_text(kind),
            "y": [i for i, _ in mine],
            "base": [s.first.isoformat() for _, s in mine],
            "x": [((s.last - s.first).days + 1) * DAY for _, s in mine],
            "marker": {"color": SHADES[n % len(SHADES)]},
            "width": 0.6,
            "hovertext": [label_text(s.row + f": {s.first} – {s.last}") for _, s in mine],
            "hoverinfo": "text",
        }
        for n, kind in enumerate(kinds)
        for mine in [[(i, s) for i, s in enumerate(spans) if s.kind == kind]]
    ]
    aims = {
        "type": "scatter",
        "mode": "markers",
        "name": label_text(aim),
        "x": [f"{s.aim} 12:00" for s in spans],
        "y": list(range(len(spans))),
        "marker": {"symbol": "diamond", "size": 9, "color": WARN},
        "hoverinfo": "x",
    }
    layout = {
        "barmode": "overlay",
        "yaxis": axis([s.row for s in spans], range=[len(spans) - 0.5, -0.5], automargin=True, ticklabelstandoff=6),
        "xaxis": {"type": "date", "tickformat": "%m-%d", "nticks": 6, "hoverformat": "%Y-%m-%d"},
        "showlegend": True,
    }
    today_line = {
        "type": "scatter",
        "mode": "lines",
        "name": label_text(now),
        "x": [today.isoformat()] * 2,
        "y": [-0.5, len(spans) - 0.5],
        "line": {"color": WARN, "width": 1.2, "dash": "dot"},
        "hoverinfo": "name",
    }
    # On a telephone the legend takes a line for each name.
    legend = LINE * (len(kinds) + 2)
    height = 70 + legend + row_height([s.row for s in spans]) * max(len(spans), 2)
    return Chart((*data, aims, today_line), layout, height, says)


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval and what is written at it."""

    name: Text
    number: float
    ends: tuple[float, float]
    words: Text


def intervals(found: Sequence[Interval], says: Text, *, x_title: Text) -> Chart:
    """Points with their intervals against a line at 0, the first on top."""
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [i.number for i in found],
        "y": list(range(len(found))),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [i.ends[1] - i.number for i in found],
            "arrayminus": [i.number - i.ends[0] for i in found],
            "color": ACCENT,
            "thickness": 2,
        },
        "marker": {"size": 10, "color": ACCENT},
        "hovertext": [label_text(i.name + Text("：", ": ") + i.words) for i in found],
        "hoverinfo": "text",
    }
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": GREY, "width": 1.2}}
    most = greatest([i.ends for i in found])
    layout = {
        "yaxis": axis([i.name for i in found], range=[len(found) - 0.4, -0.6], automargin=True, ticklabelstandoff=6),
        "xaxis": {
            "title": {"text": x_title},
            "tickformat": tick_format(most, percent=False),
            "nticks": 5,
            "rangemode": "tozero",
        },
        "shapes": [zero],
        "showlegend": False,
    }
    return Chart((trace,), layout, int(96 + row_height([i.name for i in found]) * max(len(found), 2)), says)
