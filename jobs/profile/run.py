"""What the parts of one run of the profile share."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.catalogue import Catalogue, Node, user_tables
from features.gaps import LifecycleSettings
from features.quality import QualitySettings
from features.tagging import kept_tags, make_recipe
from lake.lake import Lake
from project.frozen import Cards, Numbers

if TYPE_CHECKING:
    from lake.engine import Engine

Progress = Callable[[int, int], None]
Made = list[dict[str, Any]]
"""What tasks gave, an item each."""


@dataclass(frozen=True)
class Overrides:
    """The day's overrides: a file by bucket, the tags that any user has one of, and what was refused, in words."""

    files: dict[int, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class ProfileRun:
    """What the steps of one run share. ``held`` tags keep their last good values, ``overrides`` are what people said.

    ``silent`` are feeds of whose silence the run tells elsewhere.
    """

    lake: Lake
    engine: Engine
    catalogue: Catalogue
    as_of: dt.date
    known_at: dt.datetime | None
    run_id: str
    progress: Progress | None
    scratch: Path
    quality: QualitySettings = field(default_factory=QualitySettings)
    lifecycle: LifecycleSettings = field(default_factory=LifecycleSettings)
    staged: dict[str, Path] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)
    held: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()

    def map(self, task: str, items: list[dict[str, Any]]) -> Made:
        return self.engine.map(task, items, self.progress)

    def recipe(self, numbers: Numbers, cards: Cards, tags: Iterable[str] | None = None) -> dict[str, Any]:
        """How to compute tags (all if absent) in this run."""
        held, said = self.held, self.overrides.tags
        return make_recipe(self.catalogue, self.as_of, numbers, cards, tags, held=held, overridden=said).to_json()

    def shared_file(self, name: str, content: dict[str, Any], nodes: Iterable[Node] | None = None) -> str:
        """What all tasks of a step share, in one file; its name. ``nodes``: read only what these are made from."""
        path = self.scratch / f"{name}-{len(self.held)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        catalogue = self.catalogue
        needed = catalogue.closure(catalogue.order if nodes is None else nodes)
        used = {n for kind, n in needed if kind == "attribute"}
        described = {
            t: [[n, kind] for n, (kind, _) in columns.items() if n in used] for t, columns in user_tables().items()
        }
        own = used - {n for columns in described.values() for n, _ in columns}
        whole = {
            "as_of": self.as_of.isoformat(),
            "attributes": [[n, kind] for n, (kind, _) in catalogue.attributes.items() if n in own],
            "described": described,
            "facts": [[f.id, f.value_type, f.absent] for f in catalogue.kernel_facts if ("fact", f.id) in needed],
            "kept": [k for k in kept_tags(catalogue, self.held) if ("tag", k[0]) in needed],
            "overridden": [[n, catalogue.tags[n].type] for n in self.overrides.tags if ("tag", n) in needed],
            **content,
        }
        path.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
        return str(path)
