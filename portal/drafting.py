"""What a form of the builder asks for, done to a draft's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audiences.builder import tree
from audiences.builder.fresh import asked_of_value, fresh, known_tag
from audiences.builder.written import definition_in, definition_text, edited
from portal.blocks import form_of, seen
from portal.words.builder import BUILDER
from project.folder import Project
from queries.audience_draft import draft_path
from schemas.errors import UsageError

Sent = Mapping[str, Sequence[str]]
"""What a form sent: of every name its texts."""
SETTINGS = {
    "name.zh": ("name", "zh"),
    "name.en": ("name", "en"),
    "description.zh": ("description", "zh"),
    "description.en": ("description", "en"),
    "owner": ("owner",),
    "folder": ("folder",),
    "consent": ("consent",),
    "consent_reason": ("consent_reason",),
}
MAY_GO = ("folder", "consent_reason")
"""Settings that are left out where they are empty."""
MOST_TYPED = 2_000


def sent_text(fields: Sent, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def new_definition(project: Project, owner: str, tag: str, value: str) -> str:
    """The text of a new audience: of who has a value of a tag, else of the shop's members."""
    form = form_of(project)
    said = asked_of_value(form.tags[known_tag(tag, form.tags)], value) if tag else {"tag": "is_member", "is": True}
    return definition_text(
        {
            "name": {"zh": "新人群", "en": "New audience"},
            "description": {"zh": "说明这些人是谁、用来做什么。", "en": "Who these people are, and what they are for."},
            "owner": owner,
            "include": {"all": [said]},
        }
    )


def lists_there(project: Project) -> list[str]:
    """Uploaded lists, as conditions name them."""
    return sorted(f"lists/{path.name}" for path in (project.folder / "lists").glob("*.csv"))


def done_to(project: Project, name: str, text: str, fields: Sent) -> tuple[str, str]:
    """The text after what the form asks for, and the id of what should have the focus then.

    UsageError says what cannot be done; ConfigurationError that it cannot be written.
    """
    path, do = draft_path(project, name), sent_text(fields, "do") or "change"
    content = definition_in(text, path)
    if do == "about":
        after, _ = edited(text, path, lambda c: _settle(c, fields))
        return after, "about-save"
    place = tree.condition_place(sent_text(fields, "at"))
    if do == "add":
        made = _asked(project, name, fields)
        where: list[tree.Place] = []
        after, _ = edited(text, path, lambda c: where.append(tree.add(c, place, made)))
        return _checked(after, project, name), f"block-{_id(where[-1])}"
    here = tree.at_place(content, place)
    if sent_text(fields, "seen") != seen(here):
        raise UsageError(BUILDER.changed_elsewhere.zh + " / " + BUILDER.changed_elsewhere.en)
    after, focus = edited(text, path, lambda c: _act(c, place, do, here, project, fields))
    return _checked(after, project, name), focus


def _checked(text: str, project: Project, name: str) -> str:
    tree.refuse_too_large(definition_in(text, draft_path(project, name)))
    return text


def _act(content: Any, place: tree.Place, do: str, here: Any, project: Project, fields: Sent) -> str:
    """Change the content; the id of what has the focus then. ``here`` is the condition as plain content."""
    if do == "change":
        tree.change(content, place, _said(project, here, fields))
    elif do == "delete":
        tree.remove(content, place)
        return f"add-{_id(place[:1])}"
    elif do == "clone":
        return f"block-{_id(tree.clone(content, place))}"
    elif do in ("off", "on"):
        tree.switch(content, place, do == "on")
        return f"switch-{_id(place)}"
    elif do in ("up", "down"):
        return f"{do}-{_id(tree.move(content, place, -1 if do == 'up' else 1))}"
    elif do in ("all", "any", "not"):
        tree.regroup(content, place, do)
        return f"block-{_id(place)}"
    else:
        raise UsageError(f"nothing is called {do[:40]!r}")
    return ""


def _said(project: Project, here: Any, fields: Sent) -> Mapping[str, Any]:
    """The condition that a block's fields say."""
    kind = tree.condition_kind(here)
    if "yaml" in fields:
        return _of_text(sent_text(fields, "yaml"))
    if any(len(text) > MOST_TYPED for name, texts in fields.items() if name != "users" for text in texts):
        raise UsageError(f"a field takes at most {MOST_TYPED:,} characters; put ids into a list")
    form = form_of(project)
    named = dict(fields)
    for name in ("tag", "by", "within"):
        if typed := sent_text(fields, name):
            named[name] = [known_tag(typed, form.tags)]
    return form.condition_of(kind, named, here)


def _of_text(text: str) -> Mapping[str, Any]:
    from pathlib import Path

    found = definition_in(text, Path("block.yaml"))
    return dict(found)


def _asked(project: Project, name: str, fields: Sent) -> dict[str, Any]:
    """The new condition that somebody asks for."""
    others = [a for a in project.audiences if a != name]
    return fresh(
        sent_text(fields, "kind"), sent_text(fields, "which"), form_of(project).tags, others, lists_there(project)
    )


def _settle(content: Any, fields: Sent) -> None:
    """Name, owner and the other settings that the form shows; what it does not send stays."""
    for field, way in SETTINGS.items():
        if field not in fields:
            continue
        text, holder = sent_text(fields, field), content
        for key in way[:-1]:
            if not isinstance(holder.get(key), Mapping):
                holder[key] = {}
            holder = holder[key]
        key = way[-1]
        if not text and key in MAY_GO:
            holder.pop(key, None)
        elif key == "consent" and text == "required":
            holder.pop("consent", None)
            holder.pop("consent_reason", None)
        elif holder.get(key) != text:
            holder[key] = text


def _id(place: tree.Place) -> str:
    return "-".join(map(str, place))
