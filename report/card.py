"""The one-user card (画像卡) as a page: tags by group, RFM, stages on a time line, place in the share tree, overrides.

It shows exactly what the card holds: ids and contacts are masked in it unless they were asked for and logged.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from project.advice import advised
from report.blocks import decimal, same
from report.page import Language, asset, templates, write_whole
from report.words import ID_KINDS, NAMES, Vocabulary, group_name
from schemas.tag_roles import TagRole, no_tag_has
from schemas.text import Text

if TYPE_CHECKING:
    from project.folder import Project
    from queries.user import Card, TagValue
    from queries.user_history import Kin, Stay, Tree

RFM = (
    TagRole.RECENCY_SCORE,
    TagRole.FREQUENCY_SCORE,
    TagRole.MONETARY_SCORE,
    TagRole.RFM,
    TagRole.RFM_VALUE,
)
WORDS = SimpleNamespace(
    title=Text("用户画像卡", "User card"),
    as_of=Text("截止业务日", "business day"),
    release=Text("发布", "release"),
    member=Text("会员", "Member"),
    visitor=Text("访客", "Visitor"),
    rfm=Text("RFM", "RFM"),
    rfm_note=Text("分数 1–5，窗口 365 天", "scores 1–5, 365 days"),
    stages=Text("阶段历史", "Stage history"),
    stages_note=Text("每个分群方案的取值与日期；深色为当前。", "Values of every segmentation with their days; dark is today's."),
    no_stages=Text("还没有记录到阶段变化。", "No change of a stage has been recorded."),
    tree=Text("裂变位置", "Place in the share tree"),
    no_tree=Text("没有分享，也不是由分享带来的。", "Neither shared nor was brought by a share."),
    tags=Text("标签", "Tags"),
    overrides=Text("人工与申报值", "Values by hand and declared"),
    no_overrides=Text("没有。", "None."),
    ids=Text("标识与联系方式", "Ids and contacts"),
    masked=Text("已打码；明文查看需说明用途并记录。", "Masked; looking at them in clear needs a purpose and is logged."),
    revealed=Text("明文，本次查看已记录。", "In clear; this look has been logged."),
    none=Text("没有。", "None."),
    strategies=Text("对此人的建议", "What to do"),
    strategies_note=Text("以第一条为准；其余分群看的时间段不同，说法可能不一样。", "The first counts; the others look at other spans of time."),
    scheme=Text("方案", "Segmentation"),
    value=Text("取值", "Value"),
    from_day=Text("起", "From"),
    until_day=Text("止", "Until"),
    origin=Text("来源", "Origin"),
    author=Text("作者", "Author"),
    tag=Text("标签", "Tag"),
    kind=Text("类型", "Kind"),
    days=Text("日期与取值", "Days and values"),
)  # fmt: skip
ORIGINS = {"manual": Text("人工", "by hand"), "declared": Text("问卷申报", "declared")}
CONTACTS = {
    "marketing_consent": Text("同意营销触达", "Consent to marketing"),
    "name": Text("姓名", "Name"),
    "address": Text("地址", "Address"),
}
ROLE_WORDS = {
    "share_breadth": Text("分享触达人数", "People reached"),
    "share_descendants": Text("全部下级", "People below"),
    "share_depth": Text("下级层数", "Levels below"),
    "share_conversions": Text("带来的买家", "Buyers brought"),
    "connector_score": Text("联络员分", "Connector score"),
    "maven_score": Text("内行分", "Maven score"),
    "salesman_score": Text("推销员分", "Salesman score"),
    "is_seed_user": Text("种子用户", "Seed user"),
    "fission_kind": Text("裂变类型", "Kind of fission"),
    "community_structure": Text("社群结构", "Community structure"),
    "downline_users": Text("下线人数", "Down-line"),
    "turned_self_buyer": Text("转为自购", "Turned to self-buyer"),
}


@dataclass(frozen=True)
class Span:
    """One stay on the time line: its share of the shown days, and whether it is today's."""

    value: Text
    width: float
    now: bool
    days: str


@dataclass(frozen=True)
class Lane:
    """The time line of one segmentation; ``before`` is the share of the shown days without a value."""

    name: Text
    before: float
    spans: tuple[Span, ...]


def write_card(project: Project, card: Card, path: Path, lang: Language = "zh") -> Path:
    """Write the card as one self-contained HTML file; readable by its owner only where it shows clear text."""
    write_whole(path, card_html(project, card, lang), private=card.revealed)
    return path


def card_html(project: Project, card: Card, lang: Language = "zh") -> str:
    """The card's page as text."""
    words = Vocabulary(project.catalogue)
    shop = project.settings.name
    return templates().get_template("card.html.j2").render(
        lang=lang,
        shop=Text(shop.zh, shop.en),
        card=card,
        words=WORDS,
        style=asset("report.css"),
        script=asset("card.js"),
        rfm=[(Text(t.zh, t.en), _value(project, t)) for t in rfm(project, card)],
        without=[no_tag_has(role) for role in project.catalogue.without(RFM)],
        lanes=lanes(card.history, card.as_of, words),
        stays=[
            (words.tag(s.tag), words.value(s.tag, s.value), str(s.from_day), str(s.until_day) if s.until_day else None)
            for s in reversed(card.history)
        ],
        tree=tree_rows(card.tree, words),
        groups=[
            (group_name(g.path), [(Text(t.zh, t.en), t.id, _value(project, t)) for t in g.tags])
            for g in card.groups
        ],
        strategies=strategies(project, card),
        ids=[(ID_KINDS.get(i.kind, same(i.kind)), i) for i in card.identifiers],
        contacts=contacts(card),
        overrides=[
            (words.tag(o.tag), ORIGINS.get(o.origin, same(o.origin)), words.value(o.tag, o.value), o.author, o.from_day, o.until_day)
            for o in card.overrides
        ],
    )  # fmt: skip


def rfm(project: Project, card: Card) -> list[TagValue]:
    """Scores and segments of RFM, those that the shop's tags hold."""
    tags = {t.id: t for g in card.groups for t in g.tags}
    roles = project.catalogue.roles
    return [tags[roles[r]] for r in RFM if roles.get(r) in tags]


def _value(project: Project, tag: TagValue) -> Text | None:
    """A value as the report says it: shares in percent, channels by name."""
    if tag.value_zh is None or tag.value_en is None:
        return None
    declared = project.catalogue.tags.get(tag.id)
    if declared is not None and declared.unit == "share" and isinstance(tag.value, int | float):
        return same(f"{decimal(100 * float(tag.value), 1)}%")
    if isinstance(tag.value, str) and tag.value_zh == tag.value:
        return NAMES.get(tag.value, same(tag.value))
    return Text(tag.value_zh, tag.value_en)


def strategies(project: Project, card: Card) -> list[tuple[Text, Text, Text, Text]]:
    """Segmentation, the person's segment, what the owner declared for it, what it looks at; the one that counts is first."""
    values = {t.id: t.value for g in card.groups for t in g.tags}
    found = advised(project.catalogue, project.settings.advice, values)
    return [(a.name, a.label, a.strategy, a.window) for a in found]


def contacts(card: Card) -> list[tuple[Text, Text]]:
    """What the member record holds and the ids above do not show already; consent said in words."""
    shown = {(i.kind, i.value) for i in card.identifiers}
    rows: list[tuple[Text, Text]] = []
    for record in card.contacts:
        for name, value in record.items():
            if value is None or (name.removesuffix("_id"), value) in shown or (name, value) in shown:
                continue
            label = CONTACTS.get(name) or ID_KINDS.get(name.removesuffix("_id"), same(name))
            row = (label, NAMES[str(value).lower()] if isinstance(value, bool) else same(str(value)))
            if row not in rows:
                rows.append(row)
    return rows


def lanes(stays: Sequence[Stay], as_of: dt.date, words: Vocabulary) -> list[Lane]:
    """Every segmentation on one scale of days, from the first stay of any to ``as_of``."""
    if not stays:
        return []
    first = min(s.from_day for s in stays)
    whole = (as_of - first).days + 1
    found = []
    for tag in dict.fromkeys(s.tag for s in stays):
        own = [s for s in stays if s.tag == tag]
        spans = tuple(
            Span(
                value=words.value(tag, s.value),
                width=100.0 * (((s.until_day or as_of + dt.timedelta(days=1)) - s.from_day).days) / whole,
                now=s.until_day is None,
                days=f"{s.from_day} – {s.until_day or as_of}",
            )
            for s in own
        )
        found.append(Lane(words.tag(tag), 100.0 * (own[0].from_day - first).days / whole, spans))
    return found


def tree_rows(tree: Tree | None, words: Vocabulary) -> list[tuple[Text, Text]]:
    """The place in the tree as pairs of label and value."""
    if tree is None:
        return []
    rows: list[tuple[Text, Text]] = []
    if tree.level is not None:
        rows.append((Text("层级", "Level"), Text("根（0）", "root (0)") if tree.level == 0 else same(str(tree.level))))
    if tree.parent is not None:
        rows.append((Text("由谁带来", "Brought by"), same(_kin(tree.parent))))
    if tree.root is not None:
        rows.append((Text("树根", "Root of the tree"), same(_kin(tree.root))))
    if tree.joined_day is not None:
        rows.append((Text("加入日", "Joined"), same(str(tree.joined_day))))
    further = tree.children_count - len(tree.children)
    more = f" … +{further:,}" if further > 0 else ""
    names = ", ".join(_kin(k) for k in tree.children)
    rows.append(
        (Text("直接下级", "Direct children"), same(f"{tree.children_count}" + (f": {names}{more}" if names else "")))
    )
    for name, label in ROLE_WORDS.items():
        value = tree.role.get(name)
        if value is None or value in (0, "none"):
            continue
        if isinstance(value, bool):
            rows.append((label, NAMES["true"] if value else NAMES["false"]))
        elif isinstance(value, str):
            rows.append((label, words.of_column(value, name)))
        else:
            rows.append((label, same(f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")))
    return rows


def _kin(kin: Kin) -> str:
    return f"{kin.user_id or '?'} (uid {kin.uid})"
