"""Data quality: what came in and what was set aside, values by hand and declared ones, and days of data behind windows."""

from __future__ import annotations

from lake.refused import by_feed, since
from report import charts
from report.blocks import Block, Section, count, decimal, same, share, table
from report.data import ReportData
from report.words import FEEDS
from schemas.alerts import FEED_ROWS
from schemas.text import Text


def quality(d: ReportData) -> Section:
    return Section(
        "quality",
        Text("数据质量", "Data quality"),
        Text("这些数字依据什么数据。", "What data these numbers rest on."),
        (_feeds(d), *_refused(d), _declared(d), _windows(d)),
    )


def feeds_off(d: ReportData) -> list[Text]:
    """Feeds of tags that moved which brought unusually few or many rows, rows a day since the run before."""
    return [
        Text(
            f"{name.zh}：每天 {count(a['number'])} 行，平时 {count(a['limit_number'])} 行",
            f"{name.en}: {count(a['number'])} rows a day, usually {count(a['limit_number'])}",
        )
        for a in d.alerts
        if a["alert"].startswith(FEED_ROWS)
        for name in [FEEDS.get(a["alert"].removeprefix(FEED_ROWS), same(a["alert"].removeprefix(FEED_ROWS)))]
    ]


def missing_feeds(d: ReportData) -> list[Text]:
    """Files that were refused when the release was made or are now, and feeds that are silent for too long."""
    found = []
    now = by_feed(d.refused)
    for feed in dict.fromkeys((*d.at.refused, *now)):
        name = FEEDS.get(feed, same(feed))
        then, still = d.at.refused.get(feed, 0), now.get(feed, 0)
        if then:
            found.append(
                Text(
                    f"发布时{name.zh}有 {count(then)} 个文件被拒收，不在任何数字里；现在还有 {count(still)} 个待处理",
                    f"{name.en}: files that were refused when this was released and are in no number: {count(then)}; still waiting: {count(still)}",
                )
            )
        else:
            found.append(
                Text(
                    f"发布之后{name.zh}有 {count(still)} 个文件被拒收",
                    f"{name.en}: files refused after this was released: {count(still)}",
                )
            )
    for feed, s in d.silent.items():
        name = FEEDS.get(feed, same(feed))
        found.append(
            Text(
                f"{name.zh}截至业务日已 {count(s.age_days)} 天没有数据，最近一天是 {s.newest}",
                f"{name.en}: no row of the last {count(s.age_days)} days, the newest is of {s.newest}",
            )
        )
    return found


def _refused(d: ReportData) -> tuple[Block, ...]:
    if not d.refused:
        return ()
    title = Text("被拒收的文件", "Refused files")
    note = Text(
        "截至制作本页时；原因见 huaxiang status。修好后重新接收，或 huaxiang ingest --dismiss 文件名。",
        "As of the making of this page; `huaxiang status` says why. Mend and ingest them, or `huaxiang ingest --dismiss FILE`.",
    )
    rows = [(FEEDS.get(r.feed, same(r.feed)), same(r.file), same(f"{since(r):%Y-%m-%d}")) for r in d.refused]
    heads = [Text("数据源", "Feed"), Text("文件", "File"), Text("自", "Since")]
    return (Block(title, note, ("landing.manifest",), table=table(heads, rows, first_text=3), wide=True, shown=True),)


def _feeds(d: ReportData) -> Block:
    title = Text("数据源", "Feeds")
    note = Text(
        "自建库以来，截至制作本页时（不固定在发布上）：读入 = 入库 + 重复 + 隔离 + 未选。",
        "Since the lake began, as of the making of this page (not pinned by the release): read = taken + duplicates + set aside + "
        "left to another feed.",
    )
    source = ("landing.manifest", "quarantine.*")
    if not d.feeds:
        return Block(title, note, source, missing=Text("没有接收记录。", "Nothing has been received."), wide=True)
    rows = [
        (
            FEEDS.get(r["feed"], same(r["feed"])),
            count(r["files"]),
            count(r["rows_read"]),
            count(r["silver"]),
            count(r["duplicates"]),
            count(r["quarantined"]),
            count(d.waiting.get(r["feed"], 0)),
            count(r["late"]),
            decimal(r["late_days_p95"], 1),
            str(r["last_event"])[:10],
        )
        for r in d.feeds
    ]
    heads = [
        Text("数据源", "Feed"),
        Text("文件", "Files"),
        Text("读入", "Read"),
        Text("入库", "Taken"),
        Text("重复", "Duplicates"),
        Text("隔离", "Set aside"),
        Text("待处理", "Waiting"),
        Text("迟到", "Late"),
        Text("迟到 P95（天）", "Late P95 (days)"),
        Text("最晚事件", "Last event"),
    ]
    return Block(title, note, source, table=table(heads, rows), wide=True, shown=True)


def _declared(d: ReportData) -> Block:
    title = Text("问卷与人工标签", "Declared values and values by hand")
    note = Text(
        "一致 = 申报值等于推断值的用户 / 两者都有的用户。",
        "Agreement = users whose declared value equals the computed one / users with both.",
    )
    source = ("profile.overrides", "profile.tag_quality")
    origins = {"manual": Text("人工", "By hand"), "declared": Text("问卷", "Declared")}
    by_tag = {r["tag"]: r for r in d.overrides}
    if not by_tag:
        return Block(
            title,
            note,
            source,
            missing=Text("没有问卷答案，也没有人工标签。", "No survey answers and no values by hand."),
        )
    rows = []
    for r in d.overrides:
        quality = list(d.quality.get(r["tag"], {}).values())
        both = sum(q.get("compared_users") or 0 for q in quality)
        agree = sum(q.get("agreeing_users") or 0 for q in quality)
        rows.append(
            (
                d.words.tag(r["tag"]),
                origins.get(r["origin"], same(r["origin"])),
                count(r["users"]),
                count(both),
                share(agree / both if both else None),
            )
        )
    heads = [
        Text("标签", "Tag"),
        Text("来源", "From"),
        Text("用户", "Users"),
        Text("可比", "Comparable"),
        Text("一致", "Agree"),
    ]
    return Block(title, note, source, table=table(heads, rows, first_text=2), shown=True)


def _windows(d: ReportData) -> Block:
    title = Text("窗口与历史", "Windows and history")
    days = d.observed_days
    note = Text(
        f"自首个行为起共 {count(days)} 天。窗口来自标签目录，天数由运行记录。",
        f"{count(days)} days since the first behaviour. Windows are the catalogue's, the days were noted by the run.",
    )
    windows = {n: w for n, w in d.project.catalogue.windows.items() if w is not None}
    if days is None or not windows:
        return Block(
            title, note, ("profile.breaks",), missing=Text("没有记录数据天数。", "Days of data were not noted.")
        )
    bounds = sorted(set(windows.values()))
    numbers = [sum(1 for w in windows.values() if w == b) for b in bounds]
    short = sum(1 for w in windows.values() if w > days)
    labels = [Text(f"{b} 天", f"{b} days") + (Text(" ⚠", " ⚠") if b > days else Text("", "")) for b in bounds]
    chart = charts.bars(
        labels,
        [charts.Bars(Text("标签", "Tags"), numbers, [count(n) for n in numbers], charts.SOFT)],
        title,
    )
    more = Text("", "")
    if short:
        more = Text(
            f" 其中 {short} 个标签的窗口长于数据（⚠）。", f" {short} tags have a window longer than the data (⚠)."
        )
    rows = [(t, count(n)) for t, n in zip(labels, numbers, strict=True)]
    return Block(
        title,
        note + more,
        ("profile.breaks", "tags"),
        chart,
        table([Text("窗口", "Window"), Text("标签", "Tags")], rows),
    )
