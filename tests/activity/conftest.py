"""A shop for each test of the step."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import activity as act
from lake.engine import Engine
from tests.activity.shop import Shop


@pytest.fixture
def shop(tmp_path: Path, embedded: Engine) -> Shop:
    return Shop(tmp_path / "lake", embedded)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every person has a bucket of their own, so that nobody's slices are rebuilt for another's sake."""
    monkeypatch.setattr(act, "USERS_PER_BUCKET", 1)
