"""What can be done to the conditions of a definition while it is built, on its content as YAML has it.

Every function changes mappings and lists in place and asks for nothing but what both plain content and a tree with
comments (``written.py``) have. A place is the way to a condition, as ``("include", "all", 0)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from audiences.conditions import KINDS
from schemas.errors import UsageError

Place = tuple[str | int, ...]
BLOCKS = ("include", "exclude")
GROUPS = ("all", "any")
MOST_BLOCKS, MOST_NESTED = 300, 12
"""What a form shows of one definition. The language allows more, for files that programs write."""


def condition_place(dotted: str) -> Place:
    """``include.all.0`` as a place; UsageError for anything that is none."""
    found: list[str | int] = []
    for part in dotted.split("."):
        found.append(int(part) if part.isdecimal() and len(part) < 6 else part)
    known = {*BLOCKS, *GROUPS, "not", "top", "sample", "among"}
    if found[0] not in BLOCKS or any(isinstance(p, str) and p not in known for p in found):
        raise UsageError(f"{dotted[:80]!r} is no place of a condition")
    return tuple(found)


def dotted_place(place: Place) -> str:
    return ".".join(map(str, place))


def condition_kind(condition: Any) -> str:
    """The word that says what a condition is; empty where none does."""
    return next((k for k in KINDS if k in condition), "") if isinstance(condition, Mapping) else ""


def at_place(content: Any, place: Place) -> Any:
    """What stands at a place; UsageError where nothing does: somebody else, or another window, changed the draft."""
    here = content
    for part in place:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            raise UsageError(
                f"there is no condition at {dotted_place(place)} any more; look at the draft again"
            ) from None
    return here


def conditions_in(condition: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """The conditions directly in a condition, with their places."""
    kind = condition_kind(condition)
    if kind in GROUPS and isinstance(condition[kind], list):
        for i, part in enumerate(condition[kind]):
            yield (*place, kind, i), part
    elif kind == "not":
        yield (*place, kind), condition[kind]
    elif kind in ("top", "sample") and isinstance(condition[kind], Mapping) and "among" in condition[kind]:
        yield (*place, kind, "among"), condition[kind]["among"]


def every_block(content: Mapping[str, Any]) -> Iterator[tuple[Place, int, Any]]:
    """Every condition of both blocks with its place and depth, parents first."""
    todo: list[tuple[Place, int, Any]] = [((b,), 0, content[b]) for b in reversed(BLOCKS) if content.get(b) is not None]
    while todo:
        place, depth, condition = todo.pop()
        yield place, depth, condition
        todo += reversed([(p, depth + 1, part) for p, part in conditions_in(condition, place)])


def refuse_too_large(content: Any) -> None:
    """UsageError where a definition is more than a form can show."""
    if not isinstance(content, Mapping):
        return
    for count, (place, depth, _) in enumerate(every_block(content), 1):
        if count > MOST_BLOCKS:
            raise UsageError(
                f"more than {MOST_BLOCKS} conditions are too many for one form; put ids into a list (ids), or a part into "
                "an audience of its own"
            )
        if depth > MOST_NESTED:
            raise UsageError(
                f"{dotted_place(place)}: groups are nested more than {MOST_NESTED} deep; make an audience of the inner ones"
            )


# --- what can be done ---


def add(content: Any, place: Place, condition: Any) -> Place:
    """Put a condition into the group at a place, or beside the single condition there; where it stands then."""
    holder, key = _holder(content, place)
    if not _is_there(holder, key):
        new = deepcopy(condition)
        holder[key] = new if key == "among" or place == ("include",) else {"any": [new]}
        return place if key == "among" or place == ("include",) else (*place, "any", 0)
    here = at_place(content, place)
    kind = condition_kind(here)
    if kind not in GROUPS:
        kind = "any" if place == ("exclude",) else "all"
        holder[key] = {kind: [deepcopy(here)]}
        here = holder[key]
    here[kind].append(deepcopy(condition))
    return (*place, kind, len(here[kind]) - 1)


def change(content: Any, place: Place, condition: Mapping[str, Any]) -> None:
    """Make the condition at a place say this; keys that say the same stay as they are written."""
    _become(at_place(content, place), condition)


def _become(here: Any, wanted: Mapping[str, Any]) -> None:
    for key in [k for k in here if k not in wanted]:
        del here[key]
    for key, value in wanted.items():
        if key in here and isinstance(here[key], Mapping) and isinstance(value, Mapping) and here[key] != value:
            _become(here[key], value)
        elif (
            key not in here
            or here[key] != value
            or (type(here[key]) is not type(value) and not _alike(here[key], value))
        ):
            here[key] = deepcopy(value)


def _alike(old: Any, new: Any) -> bool:
    """Whether two equal values are of one kind: 1 and true, and 1 and 1.0, are equal and are not."""
    return any(isinstance(old, t) and isinstance(new, t) for t in (str, list, Mapping)) or (
        isinstance(old, bool) == isinstance(new, bool) and isinstance(old, float) == isinstance(new, float)
    )


def remove(content: Any, place: Place) -> None:
    """Take a condition away, and the groups that it leaves empty. UsageError for the last of ``include``."""
    while place and len(place) > 1:
        holder, key = _holder(content, place)
        if (isinstance(holder, list) and len(holder) > 1) or key == "among":
            del holder[key]
            return
        # The only one of its group: the group goes with it.
        place = place[:-2] if isinstance(holder, list) else place[:-1]
    if place == ("include",):
        raise UsageError("an audience needs at least one condition; change this one, or add another first")
    del content[place[0]]


def clone(content: Any, place: Place) -> Place:
    """A copy right behind the condition; where the copy stands."""
    holder, key = _holder(content, place)
    here = at_place(content, place)
    if isinstance(holder, list):
        holder.insert(int(key) + 1, deepcopy(here))
        return (*place[:-1], int(key) + 1)
    kind = "any" if place == ("exclude",) else "all"
    holder[key] = {kind: [deepcopy(here), deepcopy(here)]}
    return (*place, kind, 1)


def switch(content: Any, place: Place, on: bool) -> None:
    """Switch a condition off, or on again."""
    here = at_place(content, place)
    if not on:
        here["disabled"] = True
    elif "disabled" in here:
        del here["disabled"]


def move(content: Any, place: Place, steps: int) -> Place:
    """Change places with the neighbour above (-1) or below (1); where it stands then. At the end of a list it stays."""
    holder, key = _holder(content, place)
    if not isinstance(holder, list) or not 0 <= (other := int(key) + steps) < len(holder):
        return place
    holder[key], holder[other] = holder[other], holder[key]
    comments = getattr(getattr(holder, "ca", None), "items", None)
    if comments:
        here, there = comments.pop(key, None), comments.pop(other, None)
        for at, one in ((key, there), (other, here)):
            if one is not None:
                comments[at] = one
    return (*place[:-1], other)


def regroup(content: Any, place: Place, kind: str) -> Place:
    """Make a group ``all``, ``any`` or ``not`` of what is there; of a single condition a group with it alone.

    ``not`` of a group turns the whole group round; of one that is ``not`` already it takes the word away.
    """
    holder, key = _holder(content, place)
    here = at_place(content, place)
    was = condition_kind(here)
    if kind == "not":
        holder[key] = deepcopy(here["not"]) if was == "not" else {"not": deepcopy(here)}
        return place
    if was in GROUPS:
        if was != kind:
            parts = here[was]
            del here[was]
            here[kind] = parts
        return place
    holder[key] = {kind: [deepcopy(here)]}
    return (*place, kind, 0)


def _is_there(holder: Any, key: Any) -> bool:
    return isinstance(holder, list) or (key in holder and holder[key] is not None)


def _holder(content: Any, place: Place) -> tuple[Any, Any]:
    holder = at_place(content, place[:-1])
    key = place[-1]
    if isinstance(holder, list) != isinstance(key, int):
        raise UsageError(f"there is no condition at {dotted_place(place)} any more; look at the draft again")
    return holder, key
