"""One hand-made shop for all tests of the report."""

from __future__ import annotations

import pytest

from tests.report.made_shop import MadeShop


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    return MadeShop(tmp_path_factory.mktemp("report") / "shop")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    """What a first run of a young shop has: a profile and segments, nothing else."""
    return MadeShop(tmp_path_factory.mktemp("bare") / "shop", full=False)
