"""A shop's tags under other names: every id with a prefix, wherever the shop's files name it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from features.layering import score_id
from project.check import EXPRESSIONS

PREFIX = "zz_"
"""Equal for all, so that what is sorted by name stays so, and nowhere else in the texts, so that it can be taken out again."""


def ids(contents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids of tags of files, the scores of layerings among them."""
    tags = [tag for content in contents for tag in content.get("tags", ())]
    return {t["id"] for t in tags} | {score_id(t["id"]) for t in tags if "layering" in t}


def rename_folder(folder: Path) -> set[str]:
    """Rename every tag in ``tags/``, ``audiences/`` and the settings of a project folder; gives the ids that there were."""
    files = {p: yaml.safe_load(p.read_text(encoding="utf-8")) for p in sorted((folder / "tags").glob("*.yaml"))}
    known = ids(files.values())
    for path, content in files.items():
        path.write_text(yaml.safe_dump(renamed(content, known), allow_unicode=True, sort_keys=False), encoding="utf-8")
    for path in sorted((folder / "audiences").glob("*.yaml")):
        content = _audience(yaml.safe_load(path.read_text(encoding="utf-8")), known)
        path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    settings = folder / "huaxiang.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"(?m)^advice: .*$", lambda m: _expression_of(m[0], known), text), encoding="utf-8")
    return known


def _expression_of(line: str, known: set[str]) -> str:
    """A line of settings that lists tags."""
    return "advice: " + str(_expression(line.removeprefix("advice: "), known))


def renamed(content: Any, known: set[str], own: frozenset[str] = frozenset()) -> Any:
    """A tag file with every id renamed, in expressions as well; attributes, facts and breaks keep their names."""
    if isinstance(content, list):
        return [renamed(one, known, own) for one in content]
    if not isinstance(content, dict):
        return content
    if content.get("id") in known:
        # within a tag its own name means the attribute that is called so, too
        rest = renamed({k: v for k, v in content.items() if k != "id"}, known, frozenset({content["id"]}))
        return {"id": PREFIX + content["id"], **rest}
    return {
        k: _expression(v, known - own) if k in EXPRESSIONS and not isinstance(v, dict) else renamed(v, known, own)
        for k, v in content.items()
    }


def _expression(text: Any, known: set[str]) -> Any:
    if isinstance(text, list):
        return [_expression(one, known) for one in text]
    if not isinstance(text, str):
        return renamed(text, known)
    return re.sub(r"(?<![\w'])[a-z][a-z0-9_]*(?![\w'])", lambda m: (PREFIX if m[0] in known else "") + m[0], text)


def _audience(content: Any, known: set[str]) -> Any:
    if isinstance(content, list):
        return [_audience(one, known) for one in content]
    if not isinstance(content, dict):
        return PREFIX + content if content in known else content
    return {k: v if k in ("name", "description", "is") else _audience(v, known) for k, v in content.items()}
