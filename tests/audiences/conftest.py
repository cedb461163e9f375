"""A hand-made shop, made once for a file of tests and copied for each; a file that needs another says its own ``template``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.audiences.lake_shop import Shop, beijing_shop


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return beijing_shop(tmp_path_factory.mktemp("template") / "shop").folder


@pytest.fixture
def shop(template: Path, tmp_path: Path) -> Shop:
    shutil.copytree(template, tmp_path / "shop")
    return Shop.at(tmp_path / "shop")
