"""``huaxiang init`` and ``huaxiang check``: a new project folder, and whether a folder says what can be meant."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.sources import warnings as warnings_of
from project.campaign import campaign_mistakes
from project.check import check_tags
from project.example import EXAMPLE
from project.folder import SETTINGS_FILE, Project
from project.platforms import platform_mistakes
from schemas.errors import ConfigurationError

DATASETS = EXAMPLE / "datasets"
PARTS = ("sources", "tags", "audiences", "platforms", "campaigns", "methods")


@dataclass(frozen=True)
class CheckReport:
    """What a project folder holds, and every mistake found in it. A count is None where mistakes kept it from being made."""

    settings: dict[str, Any]
    sources: int | None
    tags: int | None
    audiences: int | None
    platforms: int
    campaigns: int | None
    mistakes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def init(folder: Path, dataset: str | None = None) -> list[Path]:
    """Make a project folder from the example; ``dataset`` brings its own mappings and audiences. Nothing that exists is overwritten."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(EXAMPLE / SETTINGS_FILE, folder / SETTINGS_FILE)
    for part in PARTS:
        shutil.copytree(EXAMPLE / part, folder / part)
    if dataset is not None:
        # Its own sources and audiences take the place of the example shop's, whose campaigns speak to these; the tags serve any shop.
        for part in ("sources", "audiences", "campaigns"):
            shutil.rmtree(folder / part)
        shutil.copytree(DATASETS / dataset, folder, dirs_exist_ok=True)
    (folder / "inbox").mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("lake/\ninbox/\nexports/\nportal/\n", encoding="utf-8")
    return sorted(p for p in folder.rglob("*") if p.is_file())


def check(folder: Path) -> CheckReport:
    """Load everything; mistakes are collected part by part, so that one run shows all there are."""
    project = Project.load(folder)
    sources: int | None = None
    mistakes: list[str] = []
    warnings: list[str] = []
    try:
        sources = len(project.sources)
        warnings = warnings_of(project.sources)
    except ConfigurationError as e:
        mistakes = str(e).splitlines()
    found = check_tags(project)
    judged = list(platform_mistakes(project))
    campaigns = list(campaign_mistakes(project))
    wrong = [line for line in campaigns if line is not None]
    return CheckReport(
        settings=project.settings.model_dump(mode="json"),
        sources=sources,
        tags=found.tags if found.readable else None,
        audiences=found.audiences if found.readable else None,
        platforms=judged.count(None),
        campaigns=None if wrong else len(campaigns),
        mistakes=(*mistakes, *found.mistakes, *(m for m in judged if m is not None), *wrong),
        warnings=(*warnings, *found.in_short),
    )
