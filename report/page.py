"""Step ``report``: one self-contained HTML page of a release, in both languages.

The page loads nothing: plotly's script (packed), the style and the data are in it, and its own policy forbids the browser to
fetch anything. It holds counts, sums and means only; no uid, no id, no contact.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from lake import releases
from report.blocks import Chart, Section, Tile, count, same, share
from report.data import ReportData, report_data
from report.sections.quality import feeds_off, missing_feeds
from report.words import NAMES
from schemas.alerts import ALERTS
from schemas.errors import HuaxiangError, NotThereError
from schemas.tag_roles import ROLES, used_by
from schemas.text import Text

if TYPE_CHECKING:
    import jinja2

    from lake.releases import Release
    from project.folder import Project

Language = Literal["zh", "en"]
WORDS = SimpleNamespace(
    title=Text("用户画像与分群报告", "User profile and segment report"),
    as_of=Text("截止业务日", "business day"),
    release=Text("发布", "release"),
    made=Text("发布时间", "released"),
    contents=Text("目录", "Contents"),
    skip=Text("跳到正文", "Skip to content"),
    attention=Text("需要留意", "Needs attention"),
    calm=Text("没有触发预警，也没有被冻结的标签。", "No alert is raised and no tag is held."),
    reading=Text(
        "每个数字旁写明单位、窗口与人群；“数据表”里是图的原始数字和来源表。金额未另说明时为扣除退款后的净额。",
        "Beside each number stand its unit, window and population; 'Numbers' holds what a chart was drawn from and its table. "
        "Money is net of refunds unless it says otherwise.",
    ),
    numbers=Text("数据表", "Numbers"),
    source=Text("来源", "Source"),
    tag=Text("标签", "Tag"),
    kind=Text("类型", "Kind"),
    members=Text("会员覆盖", "Members"),
    visitors=Text("访客覆盖", "Visitors"),
    values=Text("常见取值（会员）", "Top values (members)"),
    verdict=Text("结论", "Verdict"),
    needs=Text("需求", "Needs"),
    resources=Text("资源", "Resources"),
    strategy=Text("策略", "Strategy"),
    footer=Text(
        "本页只含汇总数字，不含任何个人数据；可离线打开。",
        "This page holds aggregates only and no personal data; it opens offline.",
    ),
    noscript=Text("图需要启用脚本；数据表无需脚本。", "Charts need scripts; the tables do not."),
    undrawn=Text(
        "这个浏览器较旧，画不出图；每张图的数字都在“数据表”里。",
        "This browser is too old to draw the charts; 'Numbers' holds what each would show.",
    ),
)


@dataclass(frozen=True)
class ReportFile:
    """Where the page is, what it is of, and what making it took."""

    file: Path
    as_of: dt.date
    release: int
    charts: int
    bytes: int
    seconds: float


def report(
    project: Project,
    *,
    as_of: dt.date | None = None,
    number: int | str | None = None,
    out: Path | None = None,
    lang: Language = "zh",
) -> ReportFile:
    """Write the page (default ``exports/report-DAY.html``). NotThereError names the days that are there."""
    started = time.perf_counter()
    at = chosen_release(project, as_of, number)
    path = out or project.exports / f"report-{at.as_of}.html"
    text, charts = html(report_data(project, at), lang)
    write_whole(path, text)
    size = path.stat().st_size
    return ReportFile(path, at.as_of, at.number, charts, size, round(time.perf_counter() - started, 2))


def chosen_release(project: Project, as_of: dt.date | None, number: int | str | None = None) -> Release:
    """The release of a day (the newest of that day), of a number, or the latest."""
    if number is not None:
        at = releases.release(project.lake, number)
        if as_of is not None and at.as_of != as_of:
            raise HuaxiangError(f"release {at.number} is of {at.as_of}, not of {as_of}; give one of the two")
        return at
    if as_of is None:
        return releases.release(project.lake)
    found = releases.of_day(project.lake, as_of)
    if found is None:
        days = sorted({r.as_of for r in releases.releases(project.lake)})
        there = ", ".join(str(d) for d in days[-14:]) or "none; `huaxiang run --as-of DAY` makes the first"
        more = f" ({len(days)} in all, from {days[0]})" if len(days) > 14 else ""
        raise NotThereError(f"{as_of} has no release; days with a release: {there}{more}")
    return found


def write_whole(path: Path, text: str, *, private: bool = False) -> None:
    """The file is there whole or not at all; ``private``: only its owner can ever read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    mode = 0o600 if private else 0o666
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as f:
        f.write(text)
    temporary.replace(path)


def sections(d: ReportData) -> tuple[Section, ...]:
    """The chapters in the order of the source material, then the methods; one without anything in it is left out."""
    from report.sections import (
        aipl,
        campaigns,
        lifecycle,
        methods,
        movement,
        others,
        quality,
        rfm,
        sharing,
        tags,
        value,
    )

    makers = (
        tags.digital_tags,
        rfm.rfm_report,
        value.distribution,
        aipl.aipl,
        lifecycle.lifecycle,
        movement.quadrants,
        methods.promotion,
        methods.layering,
        sharing.fission,
        methods.cross_purchase,
        methods.brushing,
        campaigns.campaigns,
        others.other_segmentations,
        movement.flows,
        quality.quality,
    )
    return tuple(_balanced(s) for s in (make(d) for make in makers) if s.blocks)


def _balanced(section: Section) -> Section:
    """Two blocks to a row: one that would stand alone takes the whole row."""
    blocks, waiting = list(section.blocks), None
    for i, block in enumerate(blocks):
        if block.wide:
            if waiting is not None:
                blocks[waiting] = replace(blocks[waiting], wide=True)
            waiting = None
        else:
            waiting = i if waiting is None else None
    if waiting is not None:
        blocks[waiting] = replace(blocks[waiting], wide=True)
    return replace(section, blocks=tuple(blocks))


def html(d: ReportData, lang: Language = "zh") -> tuple[str, int]:
    """The page as text, and how many charts it has."""
    charts = Charts()
    name = d.project.settings.name
    text = (
        templates()
        .get_template("report.html.j2")
        .render(
            lang=lang,
            shop=Text(name.zh, name.en),
            as_of=str(d.as_of),
            release=d.at.number,
            made_at=d.at.created_at.astimezone(d.project.zone_info).strftime("%Y-%m-%d %H:%M"),
            overview=overview(d),
            attention=attention(d),
            sections=sections(d),
            words=WORDS,
            charts=charts,
            style=asset("report.css"),
            script=asset("unpack.js") + asset("report.js"),
            library=as_packed(plotly_script()),
        )
    )
    return text, len(charts.specs)


def templates() -> jinja2.Environment:
    """Templates of this package; everything is escaped, a name that is not there is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> str:
    """A file of this package's templates as it is: style and script, which the templates do not escape."""
    return (resources.files("report") / "templates" / name).read_text(encoding="utf-8")


def plotly_script() -> str:
    """Plotly's script as the installed package ships it."""
    text = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")


def as_packed(script: str) -> str:
    """A script as ``unpack.js`` reads it, gzip in base64: two fifths of plotly's bytes. The same script gives the same text."""
    return base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()


class Charts:
    """Charts of a page in order of appearance; ``add`` gives each its id."""

    def __init__(self) -> None:
        self.specs: list[dict[str, Any]] = []

    def add(self, chart: Chart) -> str:
        name = f"chart-{len(self.specs) + 1}"
        self.specs.append(
            {"id": name, "data": as_json(chart.data), "layout": as_json(chart.layout), "height": chart.height}
        )
        return name

    def json(self) -> str:
        """Safe inside a script element: no character that could end it."""
        text = json.dumps(self.specs, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text


def as_json(value: Any) -> Any:
    """Plain JSON values: texts as ``{zh, en}``, or as they are where both are the same; NaN as null."""
    if isinstance(value, Text):
        return value.zh if value.zh == value.en else {"zh": value.zh, "en": value.en}
    if isinstance(value, Mapping):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if value == value and abs(value) != float("inf") else None
    return value


def overview(d: ReportData) -> tuple[Tile, ...]:
    """The numbers of the head: who is in the base, who bought, what they spent."""
    members, visitors = d.base.get(True, 0), d.base.get(False, 0)
    found = [
        Tile(
            NAMES["members"],
            same(count(members)),
            Text(
                f"占 {share(members / d.users if d.users else None)}",
                f"{share(members / d.users if d.users else None)} of the base",
            ),
        ),
        Tile(NAMES["visitors"], same(count(visitors)), Text("匿名，无会员身份", "anonymous, no membership")),
    ]
    if d.buyers:
        buyers = {k: d.buyers.get(k, {}).get("buyers", 0) for k in (True, False)}
        amount = sum(r["amount"] for r in d.buyers.values())
        found += [
            Tile(
                Text("买家（365 天）", "Buyers (365 days)"),
                same(count(sum(buyers.values()))),
                Text(
                    f"会员 {count(buyers[True])}，访客 {count(buyers[False])}",
                    f"{count(buyers[True])} members, {count(buyers[False])} visitors",
                ),
            ),
            Tile(
                Text("净消费（365 天）", "Net spend (365 days)"),
                same(d.money(amount)),
                Text(f"{d.project.currency}，扣除退款", f"{d.project.currency}, after refunds"),
            ),
        ]
    tags = d.project.catalogue.tags
    found.append(
        Tile(
            Text("标签", "Tags"),
            same(count(len(tags))),
            Text(f"其中分群方案 {len(d.segments)}", f"{len(d.segments)} of them segmentations"),
        )
    )
    if d.observed_days is not None:
        found.append(
            Tile(
                Text("数据天数", "Days of data"),
                same(count(d.observed_days)),
                Text("自首个行为起", "since the first behaviour"),
            )
        )
    return tuple(found)


def _unfilled(d: ReportData) -> list[Text]:
    """Roles that the page looks tags up by and that no tag has; its parts say what goes without."""
    without = d.project.catalogue.without(used_by("report"))
    if not without:
        return []
    names = [ROLES[role].name for role in without]
    return [
        Text(
            f"没有标签担任这些角色：{'、'.join(f'{n.zh}（{r}）' for r, n in zip(without, names, strict=True))}；"
            "huaxiang tag check 说明缺少什么、如何补上",
            f"No tag has these roles: {', '.join(f'{n.en} ({r})' for r, n in zip(without, names, strict=True))}; "
            "`huaxiang tag check` says what goes without and how to give them",
        )
    ]


def attention(d: ReportData) -> list[Text]:
    """What is missing, raised alerts, held tags, tags whose distribution broke its limit."""
    found = (
        missing_feeds(d)
        + _unfilled(d)
        + [
            Text(
                f"{NAMES.get(a['alert'], same(a['alert'])).zh}：{share(a['number'], 2)}，超过上限 {share(a['limit_number'], 2)}",
                f"{NAMES.get(a['alert'], same(a['alert'])).en}: {share(a['number'], 2)}, above the limit {share(a['limit_number'], 2)}",
            )
            for a in d.alerts
            if a["is_raised"] and a["alert"] in ALERTS
        ]
    )
    found += feeds_off(d)
    held = list(d.held.since)
    marked = [t for t in d.held.held_by if t not in d.held.since]
    acting = [
        t for t, kinds in d.quality.items() if any(r.get("verdict") == "act" for r in kinds.values()) and t not in held
    ]
    for tags, what in (
        (held, Text("个标签被冻结", "tags held")),
        (marked, Text("个标签由被冻结的标签计算而来", "tags made from held ones")),
        (acting, Text("个标签的变化远超平常", "tags moved far further than usual")),
    ):
        if tags:
            names = [d.words.tag(t) for t in tags[:6]]
            more = "…" if len(tags) > 6 else ""
            found.append(
                Text(
                    f"{len(tags)} {what.zh}：{'、'.join(n.zh for n in names)}{more}",
                    f"{len(tags)} {what.en}: {', '.join(n.en for n in names)}{more}",
                )
            )
    return found
