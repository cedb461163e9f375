"""Conditions that need more than a person's own row: what is listed for them, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audiences.conditions import Chosen, Drawn, EventRows, IdList, TagChange, Top, TreePart
from audiences.evaluate import UNKNOWN
from audiences.id_files import digest_of, id_kinds, list_path
from audiences.language import Audience
from audiences.operands import NUMBERS, Attribute, MistakeError, operand_of
from audiences.plan import ListedBelow, ListedChange, ListedIds, ListedSample, ListedTop, Plan
from audiences.wording import on_which_days, with_all_below
from schemas.configuration import Words, nearest
from schemas.errors import ConfigurationError

ID_ZH = {"user_id": "用户标识", "member": "会员号", "phone": "手机号", "email": "邮箱", "device": "设备号"}


def change_of(change: TagChange, known: Attribute) -> tuple[ListedChange, Words]:
    """MistakeError for a tag whose changes are not kept, and for values that its process never has."""
    if not known.is_dynamic:
        raise MistakeError(f"{known.id!r} is no dynamic tag, so its changes are not kept", "changed", "tag")
    before = None if change.from_ is None else _kept(change.from_, known, "from")
    after = None if change.to is None else _kept(change.to, known, "to")
    when = on_which_days(EventRows(event=("view",), within_days=change.within_days))
    zh_from, en_from = ("", "") if before is None else (f"从{_or(before, known)}", f" from {_or(before)}")
    zh_to, en_to = ("", "") if after is None else (f"变为{_or(after, known)}", f" to {_or(after)}")
    words = Words(
        zh=f"{when.zh}{known.name.zh}{zh_from}{zh_to or '有变化'}",
        en=f"{known.name.en} changed{en_from}{en_to} {when.en}",
    )
    return ListedChange(tag=known.id, before=before, after=after, within_days=change.within_days), words


def _kept(values: Sequence[Any], known: Attribute, key: str) -> tuple[str | None, ...]:
    """Values as the process of a tag writes them; None is unknown."""
    return tuple(_kept_text(value, known, key) for value in values)


def _kept_text(value: Any, known: Attribute, key: str) -> str | None:
    if value == UNKNOWN:
        return None
    if known.bands:
        if value not in known.bands:
            said = f"its process is kept by band: {', '.join(known.bands)}"
            raise MistakeError(f"{known.id!r} never changes from or to {value!r}; {said}", "changed", key)
        return str(value)
    try:
        plain = operand_of(value, known, "is")
    except MistakeError as e:
        raise MistakeError(str(e), "changed", key) from None
    if isinstance(plain, bool):
        return str(plain).lower()
    if known.type == "float64":
        return repr(float(plain))
    return str(int(plain)) if known.type in NUMBERS else str(plain)


def _or(values: Sequence[str | None], known: Attribute | None = None) -> str:
    """Values one after the other; in Chinese (of a tag) those with a label are called by it."""
    plain = [UNKNOWN if v is None else v for v in values]
    if known is None:
        return "/".join(plain)
    return "或".join(known.labels[v].zh if v in known.labels else v for v in plain)


def ids_of_list(wanted: IdList, audience: Audience) -> tuple[ListedIds, Words]:
    """MistakeError for a file that is not in the project folder."""
    try:
        list_path(audience.project, wanted.file)
    except ConfigurationError as e:
        raise MistakeError(str(e), "ids", "file") from None
    kind = id_kinds().get(wanted.kind, wanted.kind)
    listed = ListedIds(
        project=str(audience.project),
        file=wanted.file,
        id_kind=kind,
        column=wanted.column,
        digest=digest_of(audience.project, wanted.file),
    )
    words = Words(
        zh=f"{ID_ZH.get(kind, wanted.kind)}在名单 {wanted.file} 中", en=f"{wanted.kind} is in the list {wanted.file}"
    )
    return listed, words


def top_of(top: Top, known: Mapping[str, Attribute], among: Plan | None) -> tuple[ListedTop, Words]:
    """``known`` are the tags that it names. MistakeError for a tag that has no order."""
    by = known[top.by]
    if by.type in ("string", "bool"):
        kind = "text" if by.type == "string" else "true or false"
        raise MistakeError(f"{by.id!r} is {kind}; the highest are found by a number or a date", "top", "by")
    within = None if top.within is None else known[top.within]
    lowest = top.order == "lowest"
    zh_many, en_many = _how_many(top)
    zh_within, en_within = ("", "") if within is None else (f"每个{within.name.zh}中", f" within each {within.name.en}")
    zh_among, en_among = _among(among)
    words = Words(
        zh=f"{zh_among}{zh_within}{by.name.zh}最{'低' if lowest else '高'}的 {zh_many}",
        en=f"the {en_many} with the {top.order} {by.name.en}{en_within}{en_among}",
    )
    listed = ListedTop(by=by.id, within=top.within, lowest=lowest, people=top.people, share=top.share, among=among)
    return listed, words


def sample_of(drawn: Drawn, among: Plan | None) -> tuple[ListedSample, Words]:
    zh_many, en_many = _how_many(drawn)
    zh_among, en_among = _among(among)
    words = Words(
        zh=f"{zh_among}随机抽取 {zh_many}（种子 {drawn.seed}）",
        en=f"{en_many} drawn at random{en_among} (seed {drawn.seed})",
    )
    return ListedSample(seed=str(drawn.seed), people=drawn.people, share=drawn.share, among=among), words


def below_of(branch: TreePart) -> tuple[ListedBelow, Words]:
    zh = "" if branch.levels is None else f"（至第 {branch.levels} 层）"
    en = "" if branch.levels is None else f", to level {branch.levels}"
    words = Words(zh=f"裂变树中 {branch.below} 的下级{zh}", en=f"below {branch.below} in the share tree{en}")
    return ListedBelow(user_id=branch.below, levels=branch.levels), words


def _how_many(chosen: Chosen) -> tuple[str, str]:
    if chosen.share is None:
        return f"{chosen.people:,} 人", f"{chosen.people:,} people"
    return f"{chosen.share:.4%}".replace(".0000", ""), f"{chosen.share:.4%}".replace(".0000", "")


def _among(plan: Plan | None) -> tuple[str, str]:
    if plan is None:
        return "", ""
    words = with_all_below(plan.root.include)
    return f"在「{words.zh}」之内", f" among those of whom holds: {words.en}"


def attribute_named(name: str, known: Mapping[str, Attribute], *key: str) -> Attribute:
    """MistakeError with the nearest name for a tag that is none."""
    if name not in known:
        raise MistakeError(f"no tag {name!r}; {nearest(name, list(known))}", *key)
    return known[name]
