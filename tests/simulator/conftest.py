"""Two small shops: one for files (quick to write), one large enough for every kind of person to be in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Shop, simulate, write_arrivals


@pytest.fixture(scope="session")
def small() -> Shop:
    return simulate(users=300, days=60, seed=3)


@pytest.fixture(scope="session")
def town() -> Shop:
    return simulate(users=3000, days=180, seed=5)


@pytest.fixture(scope="session")
def inbox(small: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inbox")
    write_arrivals(small, folder)
    return folder
