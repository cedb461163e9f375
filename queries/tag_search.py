"""Tags as people look for them: by id, by a part of the name in either language, by pinyin or its initials."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from audiences.language import Audience

if TYPE_CHECKING:
    from features.catalogue import Catalogue
    from features.tags import Tag


def tags_found(catalogue: Catalogue, asked: str) -> list[Tag]:
    """Tags that fit every word that is asked for, those first whose name or id begins with it; all for nothing."""
    words = [w for w in asked.casefold().split() if w]
    found = []
    for position, tag in enumerate(catalogue.tags.values()):
        said = (
            tag.id,
            tag.name.zh.casefold(),
            tag.name.en.casefold(),
            *_spelt(tag.name.zh),
            *(p.casefold() for p in tag.path),
        )
        if all(any(w in one for one in said) for w in words):
            begins = bool(words) and any(one.startswith(words[0]) for one in said[:5])
            found.append((not begins, position, tag))
    return [tag for _, _, tag in sorted(found, key=lambda f: f[:2])]


@lru_cache(maxsize=4096)
def _spelt(zh: str) -> tuple[str, str]:
    """A Chinese name in pinyin, and the initials of it."""
    from pypinyin import Style, lazy_pinyin

    whole = "".join(lazy_pinyin(zh)).casefold()
    return whole, "".join(lazy_pinyin(zh, style=Style.FIRST_LETTER)).casefold()


def audiences_by_tag(audiences: Mapping[str, Audience]) -> dict[str, list[str]]:
    """Audiences whose conditions or files name a tag, by tag."""
    found: dict[str, set[str]] = {}
    for audience in audiences.values():
        for name in _named_in(audience.content):
            found.setdefault(name, set()).add(audience.id)
    return {tag: sorted(names) for tag, names in found.items()}


def _named_in(content: object) -> set[str]:
    """Names of tags in conditions (``tag``, ``by``, ``within``) and among the columns of the file."""
    found: set[str] = set()
    todo = [content]
    while todo:
        here = todo.pop()
        if isinstance(here, dict):
            found |= {v for k in ("tag", "by", "within") if isinstance(v := here.get(k), str)}
            columns = here.get("columns")
            found |= {c for c in columns if isinstance(c, str)} if isinstance(columns, (list, tuple)) else set()
            todo += here.values()
        elif isinstance(here, (list, tuple)):
            todo += here
    return found
