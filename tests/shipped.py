"""The shipped catalogue, read once a process: it takes a second."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from features.catalogue import Catalogue
from project.loading import load_catalogue

TAGS = Path(__file__).parents[1] / "conf" / "tags"


@cache
def catalogue() -> Catalogue:
    return load_catalogue(sorted(TAGS.glob("*.yaml")))
