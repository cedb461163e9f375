"""One shop for all tests that only read it: three days, run one after the other."""

from __future__ import annotations

import pytest

from lake.engine import Engine
from project.folder import Project
from tests.pipeline import shop

SALT = "0123456789abcdef"


@pytest.fixture(scope="session", autouse=True)
def _salt() -> None:
    """The same public ids in every lake of the tests."""
    import os

    os.environ["HUAXIANG_ID_SALT"] = SALT


@pytest.fixture(scope="session")
def three_days(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Project:
    project = shop.new_project(tmp_path_factory.mktemp("shop") / "project")
    for day in shop.last_days(3):
        shop.one_day(project, embedded, day)
    return project
