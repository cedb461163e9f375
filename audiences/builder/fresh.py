"""What a new condition says before anybody has changed it: something that can be meant, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audiences.conditions import KINDS
from audiences.operands import NUMBERS, Attribute
from schemas.alerts import ALERTS
from schemas.configuration import nearest
from schemas.errors import UsageError


def fresh(
    kind: str, name: str, tags: Mapping[str, Attribute], audiences: Sequence[str], lists: Sequence[str]
) -> dict[str, Any]:
    """A condition of a kind. ``name`` is the tag or audience that it is about, where somebody chose one.

    UsageError for a kind that there is not, a tag that there is not, and where a shop has none of what a kind needs.
    """
    if kind == "tag":
        return {"tag": known_tag(name, tags), "known": True}
    if kind == "event":
        return {"event": "view", "within_days": 30}
    if kind == "sequence":
        return {"sequence": {"first": {"event": "cart", "within_days": 30}, "then": {"event": "pay"}, "within_days": 7}}
    if kind == "audience":
        if name and name not in audiences:
            raise UsageError(f"no audience {name!r}; {nearest(name, list(audiences))}")
        return {"audience": name or _first(audiences, "there is no other audience yet to choose from")}
    if kind == "alert":
        return {"alert": next(iter(ALERTS))}
    if kind == "changed":
        dynamic = [t.id for t in tags.values() if t.is_dynamic]
        tag = known_tag(name, tags) if name else _first(dynamic, "no tag is dynamic, so no changes are kept")
        return {"changed": {"tag": tag, "within_days": 30}}
    if kind == "users":
        return {"users": [name or "user_id"]}
    if kind == "ids":
        return {"ids": {"file": _first(lists, "there is no list yet: upload one first"), "kind": "phone"}}
    if kind == "top":
        ordered = [t.id for t in tags.values() if t.type in (*NUMBERS, "date") and t.id not in ("uid", "as_of")]
        by = known_tag(name, tags) if name else _first(ordered, "no tag has an order")
        return {"top": {"by": by, "people": 1000}}
    if kind == "sample":
        return {"sample": {"share": 0.1, "seed": "1"}}
    if kind == "share_tree":
        return {"share_tree": {"below": name or "user_id"}}
    if kind in ("all", "any"):
        return {kind: [{"event": "view", "within_days": 30}]}
    if kind == "not":
        return {"not": {"event": "view", "within_days": 30}}
    raise UsageError(f"no kind of condition {kind[:40]!r}; {nearest(kind, list(KINDS))}")


def known_tag(said: str, tags: Mapping[str, Attribute]) -> str:
    """The tag that somebody means by its id or its name in either language; UsageError names the nearest."""
    asked = said.strip()
    if asked in tags:
        return asked
    named = [t.id for t in tags.values() if asked.casefold() in (t.name.zh.casefold(), t.name.en.casefold())]
    if len(named) == 1:
        return named[0]
    close = [t.id for t in tags.values() if asked and (asked.casefold() in t.id or asked in t.name.zh)][:5]
    hint = f"did you mean {' / '.join(close)}?" if close else nearest(asked, list(tags))
    raise UsageError(f"no tag {asked[:80]!r}; {hint}" if asked else "name the tag first: its id, or its name")


def asked_of_value(tag: Attribute, value: str) -> dict[str, Any]:
    """The condition that somebody has a value of a tag, as a page's cell or a chart's bar stands for it."""
    if tag.type == "bool":
        return {"tag": tag.id, "is": value == "true"}
    if tag.type in NUMBERS:
        try:
            return {"tag": tag.id, "is": float(value) if tag.type == "float64" else int(value)}
        except ValueError:
            return {"tag": tag.id, "known": True}
    return {"tag": tag.id, "is": value} if value else {"tag": tag.id, "known": True}


def _first(names: Sequence[str], without: str) -> str:
    if not names:
        raise UsageError(without)
    return names[0]
