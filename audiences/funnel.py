"""From the members of an audience to the rows of its files: who is lost at which step, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HELD_OUT_OF_IT = "held out of the campaign"
ANOTHER_ARM = "in another arm"
NO_ARM = "has no arm"
SPOKEN_TO = "spoken to by another audience or stage"
LEFT_THE_BASE = "left the base"
ONE_PERSON = "one person with another of them by now"
REFUSED_MARKETING = "refused marketing"
SILENT = "consent is not known"
DO_NOT_CONTACT = "on a do-not-contact list"
CAPPED = "had messages enough lately"
REFUSED_BY_ANOTHER = "contact refused by another"
REPEATED = "contact is in the file already"
NO_MEMBER = "no member"
NO_CONTACT = "no contact of the kind"
INVALID = "no valid contact"

STEPS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    (
        "arm",
        "属于本组",
        "are in this arm",
        {HELD_OUT_OF_IT: "留出不触达", ANOTHER_ARM: "在其他组", NO_ARM: "尚未分组", SPOKEN_TO: "由其他人群或阶段触达"},
    ),
    ("persons", "一人一行", "one row a person", {LEFT_THE_BASE: "已不在用户库", ONE_PERSON: "与他人已合并为同一人"}),
    (
        "allowed",
        "允许触达",
        "may be reached",
        {
            REFUSED_MARKETING: "拒绝营销",
            SILENT: "营销授权未知",
            DO_NOT_CONTACT: "在勿扰名单上",
            CAPPED: "近期触达已达上限",
            REFUSED_BY_ANOTHER: "联系方式被他人拒绝",
            REPEATED: "联系方式重复",
        },
    ),
    ("identified", "有标识", "have an id", {NO_MEMBER: "不是会员", NO_CONTACT: "没有该类标识"}),
    ("valid", "标识有效", "have a valid one", {INVALID: "标识无效"}),
)
"""Every step with its words, and the reasons for which people are lost at it."""
IN_CHINESE = {reason: zh for _, _, _, reasons in STEPS for reason, zh in reasons.items()}


@dataclass(frozen=True)
class Remaining:
    """How many people are left after a step, and how many were lost at it by reason."""

    step: str
    zh: str
    en: str
    people: int
    lost: dict[str, int]


def funnel_of(members: int, left_out: Mapping[str, int], written: int) -> tuple[Remaining, ...]:
    """Members, what each step leaves, and who is written. ValueError where it does not add up: nobody is lost unsaid.

    The step of arms is there only where a campaign parts the audience.
    """
    unknown = [r for r in left_out if r not in IN_CHINESE]
    left, found = members, [Remaining("members", "人群成员", "members of the audience", members, {})]
    for step, zh, en, reasons in STEPS:
        if step == "arm" and not any(r in left_out for r in reasons):
            continue
        lost = {r: n for r in reasons if (n := left_out.get(r, 0))}
        left -= sum(lost.values())
        found.append(Remaining(step, zh, en, left, lost))
    if unknown or left != written:
        raise ValueError(f"{members} members and {dict(left_out)} leave {left} people, but {written} are written")
    return (*found, Remaining("written", "写入文件", "written", written, {}))
