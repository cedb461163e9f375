"""A catalogue of a few tags over member records, for tests that need many runs and no activity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features.catalogue import Catalogue
from project.loading import load_catalogue

COMMON: dict[str, Any] = {
    "owner": "crm",
    "refresh": "daily",
    "version": 1,
    "kind": "dynamic",
    "sources": ["members"],
    "path": ["会员特征", "会员信息", "测试"],
    "description": {"zh": "测试", "en": "A test"},
}
BREAKS: dict[str, Any] = {
    "points_median": {"of": "points", "statistic": "median"},
    "kept_median": {"of": "points", "statistic": "median", "keep": True, "min_users": 10},
}
TAGS: dict[str, dict[str, Any]] = {
    "points": {
        "method": "fact",
        "type": "int64",
        "unit": "points",
        "values": {"min": 0},
        "empty": "unknown",
        "attribute": "points",
    },
    "city": {
        "method": "fact",
        "type": "string",
        "values": {"from": "members.city"},
        "empty": "unknown",
        "attribute": "city",
        "declared": "where_do_you_live",
        "limits": {"psi": None, "coverage": 0.3},
    },
    "rich": {
        "method": "rule",
        "type": "string",
        "scheme": True,
        "values": ["yes", "no"],
        "empty": "no",
        "strategies": {"yes": {"zh": "维护", "en": "Keep"}, "no": {"zh": "无", "en": "None"}},
        "rules": [{"when": "points > statistic('points_median')", "value": "yes"}],
        "else": "no",
    },
    "richer": {
        "method": "rule",
        "type": "bool",
        "empty": "unknown",
        "expression": "points > statistic('kept_median')",
    },
    "opted": {
        "kind": "semi_dynamic",
        "method": "fact",
        "type": "bool",
        "empty": "unknown",
        "attribute": "marketing_consent",
    },
}


def catalogue_of(
    folder: Path,
    breaks: dict[str, Any] | None = None,
    models: dict[str, Any] | None = None,
    **changes: dict[str, Any],
) -> Catalogue:
    """The small catalogue; ``changes`` are keys of a tag that differ, by its id."""
    tags = [{"id": n, **COMMON, "name": {"zh": n, "en": n}, **tag, **changes.get(n, {})} for n, tag in TAGS.items()]
    path = folder / "small.yaml"
    content: dict[str, Any] = {"breaks": {**BREAKS, **(breaks or {})}, "tags": tags}
    if models:
        content["models"] = models
    # JSON is YAML
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return load_catalogue([path])
