"""The catalogues that profiles were computed with, so that a later one can be compared with what is published.

One JSON file a version under ``LAKE/profile/_catalogues``; the profile's publications name the version they used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from features.catalogue import Catalogue
from lake import releases
from lake.lake import Lake
from lake.releases import Release

PROFILE = "profile.profile"
Declared = dict[str, dict[str, Any]]
"""Declarations as plain data, by kind (tags, facts, breaks, models) and name."""


@dataclass(frozen=True)
class Remembered:
    """The catalogue of a release."""

    release: Release
    version: str
    declared: Declared


def remember_catalogue(lake: Lake, catalogue: Catalogue) -> str:
    """Keep the catalogue's declarations under its version; one that is kept already stays as it is. Gives its name."""
    name = _name(catalogue.version)
    if not lake.store.is_there(name):
        text = json.dumps(catalogue.declared, ensure_ascii=False, indent=1, sort_keys=True)
        lake.store.create(name, text.encode())
    return name


def remembered(lake: Lake, which: int | str | None = None) -> Remembered | None:
    """The catalogue of a release (the latest if absent); None where nothing was released, or it was not kept.

    NotThereError if ``which`` names no release.
    """
    if which is None and releases.latest(lake) is None:
        return None
    release = releases.release(lake, which)
    version = _version_of(lake, release)
    if version is None or (text := lake.store.read(_name(version))) is None:
        return None
    return Remembered(release, version, json.loads(text))


def _name(version: str) -> str:
    return f"profile/_catalogues/{version}.json"


def _version_of(lake: Lake, release: Release) -> str | None:
    """What the publication of the release's day noted, in the table as the release pins it."""
    wanted = release.tables.get(PROFILE)
    table = None if wanted is None else lake.delta(PROFILE, wanted)
    for commit in [] if table is None else table.history():
        noted = json.loads(commit["huaxiang"]) if "huaxiang" in commit else {}
        if commit["version"] <= wanted and noted.get("as_of") == release.as_of.isoformat() and "catalogue" in noted:
            return str(noted["catalogue"])
    return None
