"""Engines and lakes for the identity tests: what takes ``engine`` runs on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.engine import Engine, open_engine
from lake.lake import Lake
from tests.identity.worlds import ZONE


@pytest.fixture(scope="session")
def embedded() -> Iterator[Engine]:
    with open_engine("embedded") as opened:
        yield opened


@pytest.fixture(scope="session")
def spark() -> Iterator[Engine]:
    with open_engine("spark") as opened:
        yield opened


@pytest.fixture(scope="session", params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(request.param)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", ZONE)
