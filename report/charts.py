"""Plotly figures as plain data: bars, lines, matrices, flows. Texts stay in both languages; the page picks one.

Categories lie at whole numbers with labels beside them, so that two values of one name are never drawn as one. Texts
of the shop's data are escaped: plotly reads a few HTML tags in labels. Colours and fonts that all charts share are in
``templates/report.js``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from report.blocks import Chart
from schemas.text import Text

ACCENT, SOFT, GREY, PALE, WARN = "#1f5fbf", "#8fb2e6", "#8a94a1", "#c9d0d9", "#a63a27"
QUIET = "#5b6675"
SHADES = ("#1f5fbf", "#6f9ddb", "#12356b", "#9aa3af", "#4a7fcf", "#5b6675", "#b7cdee", "#2b2f36")
SCALE = ((0.0, "#f5f7fa"), (0.5, "#8fb2e6"), (1.0, "#1f5fbf"))
WHOLE = 14
"""Up to so many different x are named one by one."""
NARROW, LINE = 13, 15
"""Letters of a label in one line where the page is narrow (``templates/report.js``), and the height of the line."""
ROW = 30
"""Height of one bar with its gap, in pixels."""


def label_text(text: Text) -> Text:
    """A label without meaning to plotly."""
    return Text(_escaped(text.zh), _escaped(text.en))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def row_height(labels: Sequence[Text]) -> int:
    """Room for the longest label, also where a telephone breaks it."""
    return max([ROW, *(LINE * -(-len(t.en) // NARROW) for t in labels)])


def axis(labels: Sequence[Text], **more: Any) -> dict[str, Any]:
    """An axis of categories at 0, 1, 2 ..."""
    ticks = {"tickmode": "array", "tickvals": list(range(len(labels))), "ticktext": [label_text(t) for t in labels]}
    return {**ticks, "showgrid": False, "zeroline": False, **more}


@dataclass(frozen=True)
class Bars:
    """One colour of a bar chart: its name, values, and what is written at each bar."""

    name: Text
    values: Sequence[float | None]
    words: Sequence[str]
    colour: str = ACCENT


def bars(
    labels: Sequence[Text], parts: Sequence[Bars], says: Text, *, percent: bool = False, stacked: bool = False
) -> Chart:
    """Lying bars, the first label on top. With one part the values stand at the bars."""
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label_text(p.name),
            "y": list(range(len(labels))),
            "x": list(p.values),
            "text": list(p.words),
            "textposition": "none" if stacked else "outside",
            "constraintext": "none",
            "cliponaxis": False,
            "marker": {"color": p.colour},
            "hovertext": [
                label_text(t + f"：{w}" if len(parts) == 1 else t + " · " + p.name + f" {w}")
                for t, w in zip(labels, p.words, strict=True)
            ],
            "hoverinfo": "text",
        }
        for p in parts
    ]
    rows = len(labels) * (1 if stacked or len(parts) == 1 else 0.75 * len(parts))
    layout = {
        "barmode": "stack" if stacked else "group",
        "bargap": 0.3,
        "yaxis": axis(labels, autorange="reversed", automargin=True, ticklabelstandoff=6),
        "xaxis": {**_numbers(parts, percent), **({} if stacked else {"range": _room(parts)})},
        "showlegend": len(parts) > 1,
    }
    return Chart(tuple(data), layout, int(56 + ROW * max(rows, 2) + (30 if len(parts) > 1 else 0)), says)


def _room(parts: Sequence[Bars]) -> list[float]:
    """From zero, or the least below it, to a sixth beyond the greatest: the words stand behind the bars."""
    known = [v for p in parts for v in p.values if v is not None]
    most, least = max([*known, 0.0]), min([*known, 0.0])
    return [least * 1.18, (most or 1.0) * 1.18]


def _numbers(parts: Sequence[Bars], percent: bool) -> dict[str, Any]:
    """The axis of the numbers."""
    most = greatest([p.values for p in parts])
    return {"tickformat": tick_format(most, percent), "rangemode": "tozero", "nticks": 5}


def greatest(values: Sequence[Sequence[float | None]]) -> float:
    """The greatest number, whatever its sign; 0 without any."""
    return max((abs(v) for part in values for v in part if v is not None), default=0.0)


def tick_format(most: float, percent: bool) -> str:
    """Percent, thousands with a letter, or decimals, as fine as the greatest number needs."""
    if percent:
        return ",.0%" if most >= 0.1 else ",.2~%" if most >= 0.001 else ",.4~%"
    return "~s" if most >= 1000 else ",.3~f"


def columns(labels: Sequence[Text], parts: Sequence[Bars], says: Text, *, percent: bool = False) -> Chart:
    """Standing bars for what has an order (levels, months)."""
    data = [
        {
            "type": "bar",
            "name": label_text(p.name),
            "x": list(range(len(labels))),
            "y": list(p.values),
            "text": list(p.words),
            "textposition": "outside" if len(labels) * len(parts) <= 12 else "none",
            "cliponaxis": False,
            "marker": {"color": p.colour},
            "hovertext": [label_text(t + " · " + p.name + f" {w}") for t, w in zip(labels, p.words, strict=True)],
            "hoverinfo": "text",
        }
        for p in parts
    ]
    layout = {
        "bargap": 0.35,
        "xaxis": axis(labels),
        "yaxis": _numbers(parts, percent),
        "showlegend": len(parts) > 1,
    }
    return Chart(tuple(data), layout, 300, says)


@dataclass(frozen=True)
class Line:
    """One line; ``low`` and ``high`` draw its 95 % interval."""

    name: Text
    x: Sequence[float | str]
    y: Sequence[float | None]
    colour: str = ACCENT
    dash: str = "solid"
    markers: bool = False
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    step: bool = False


@dataclass(frozen=True)
class Mark:
    """A cut to show at ``x``."""

    x: float
    name: Text
    colour: str = WARN


def lines(
    parts: Sequence[Line],
    says: Text,
    *,
    x_title: Text,
    y_title: Text,
    marks: Sequence[Mark] = (),
    percent: bool = True,
    dates: bool = False,
    square: bool = False,
    marks_low: bool = False,
) -> Chart:
    """Lines over numbers or days, with cuts marked.

    The names of cuts are set at different heights, from the top or (``marks_low``) from the bottom.
    """
    data = [trace for p in parts for trace in (*_band(p), _line(p))]
    ordered = list(enumerate(sorted(marks, key=lambda m: m.x)))
    layout = {
        "xaxis": _x_axis(parts, x_title, dates=dates, square=square),
        "yaxis": {
            "title": {"text": y_title},
            "tickformat": tick_format(greatest([p.y for p in parts]), percent),
            "rangemode": "tozero",
        },
        "shapes": [_cut(m) for _, m in ordered],
        "annotations": [_name_of(m, 0.06 + 0.1 * (i % 8) if marks_low else 1.0 - 0.1 * (i % 8)) for i, m in ordered],
        "showlegend": sum(1 for d in data if d.get("showlegend", True)) > 1,
        "hovermode": "x unified",
    }
    return Chart(tuple(data), layout, 340 + 15 * max(len(marks) - 4, 0), says)


def _band(line: Line) -> list[dict[str, Any]]:
    """The line's interval as an area, where it is known."""
    if line.low is None or line.high is None:
        return []
    ends = zip(line.x, line.low, line.high, strict=True)
    known = [(x, low, high) for x, low, high in ends if low is not None and high is not None]
    if not known:
        return []
    xs = [x for x, _, _ in known]
    return [
        {
            "type": "scatter",
            "x": xs + xs[::-1],
            "y": [high for _, _, high in known] + [low for _, low, _ in reversed(known)],
            "fill": "toself",
            "mode": "lines",
            "line": {"width": 0},
            "fillcolor": "rgba(31,95,191,0.12)",
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]


def _line(line: Line) -> dict[str, Any]:
    shape = {"shape": "hv"} if line.step else {}
    return {
        "type": "scatter",
        "mode": "lines+markers" if line.markers else "lines",
        "name": label_text(line.name),
        "x": list(line.x),
        "y": list(line.y),
        "line": {"color": line.colour, "width": 2.2, "dash": line.dash, **shape},
        "marker": {"size": 6, "color": line.colour},
    }


def _cut(mark: Mark) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": mark.x,
        "x1": mark.x,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": mark.colour, "width": 1.2, "dash": "dot"},
    }


def _name_of(mark: Mark, height: float) -> dict[str, Any]:
    return {
        "x": mark.x,
        "yref": "paper",
        "y": height,
        "text": label_text(mark.name),
        "showarrow": False,
        "xanchor": "left",
        "xshift": 4,
        "font": {"size": 11, "color": mark.colour},
        "bgcolor": "rgba(255,255,255,0.75)",
    }


def _x_axis(parts: Sequence[Line], title: Text, *, dates: bool, square: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": title}, "type": "date" if dates else "linear", "showgrid": False}
    distinct = {x for p in parts for x in p.x}
    if square:
        found["tickformat"] = ",.0%"
    elif dates:
        found["tickformat"] = "%m-%d"
    elif len(distinct) <= WHOLE:
        found["tickvals"] = sorted(distinct)
    return found


def matrix(
    rows: Sequence[Text],
    across: Sequence[Text],
    numbers: Sequence[Sequence[float | None]],
    words: Sequence[Sequence[str]],
    says: Text,
    *,
    x_title: Text,
    y_title: Text,
    shade: Sequence[Sequence[float | None]] | None = None,
) -> Chart:
    """A matrix; ``shade`` colours it where the numbers themselves would let one cell swamp the others."""
    hover = [
        [label_text(r + " → " + c + f"：{w}") for c, w in zip(across, line, strict=True)]
        for r, line in zip(rows, words, strict=True)
    ]
    trace = {
        "type": "heatmap",
        "z": [list(r) for r in (shade or numbers)],
        "x": list(range(len(across))),
        "y": list(range(len(rows))),
        "text": [list(r) for r in words],
        "texttemplate": "%{text}",
        "textfont": {"size": 12},
        "hovertext": hover,
        "hoverinfo": "text",
        "colorscale": [list(s) for s in SCALE],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = {
        "xaxis": axis(across, title={"text": x_title}, side="top", automargin=True),
        "yaxis": axis(rows, title={"text": y_title}, autorange="reversed", automargin=True, ticklabelstandoff=6),
        "margin": {"b": 8},
    }
    return Chart((trace,), layout, 84 + 32 * max(len(rows), 3), says)


def sankey(left: Sequence[Text], right: Sequence[Text], links: Sequence[tuple[int, int, float]], says: Text) -> Chart:
    """From the states of the earlier day (left) to those of the later day (right); links by position."""
    nodes = [*left, *right]
    stays = [left[a] == right[b] for a, b, _ in links]
    heights = _heights(len(left), [(a, n) for a, _, n in links]) + _heights(len(right), [(b, n) for _, b, n in links])
    hover = [left[a] + " → " + right[b] + f"：{n:,.0f}" for a, b, n in links]
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            "label": [label_text(t) for t in nodes],
            "color": [GREY] * len(left) + [ACCENT] * len(right),
            "x": [0.001] * len(left) + [0.999] * len(right),
            "y": heights,
            "pad": 16,
            "thickness": 14,
            "line": {"width": 0},
        },
        "link": {
            "source": [a for a, _, _ in links],
            "target": [len(left) + b for _, b, _ in links],
            "value": [n for _, _, n in links],
            "color": ["rgba(154,163,175,0.28)" if s else "rgba(31,95,191,0.45)" for s in stays],
            "customdata": [label_text(h) for h in hover],
            "hovertemplate": "%{customdata}<extra></extra>",
        },
    }
    return Chart((trace,), {}, 360, says)


def _heights(nodes: int, sizes: Sequence[tuple[int, float]]) -> list[float]:
    """Where the middle of each node lies, from the top, in the given order: without it plotly orders them anew."""
    whole = sum(n for _, n in sizes) or 1.0
    gap = 0.4 / max(nodes, 1)
    found, at = [], 0.0
    for i in range(nodes):
        size = 0.6 * sum(n for k, n in sizes if k == i) / whole
        found.append(min(max(at + size / 2, 0.001), 0.999))
        at += size + gap
    return found
