"""A feed that is declared in YAML alone goes the whole way: silver, identity, activity, tags, audiences, status, pages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline import new_feed

ROOT = Path(__file__).parents[2]
LAST_CODE = "    refund_of_order: "


def declared(folder: Path) -> Path:
    """A copy of ``schemas/`` in which the two feeds stand, in YAML only."""
    copy = folder / "first_on_the_path" / "schemas"
    shutil.copytree(ROOT / "schemas", copy, ignore=shutil.ignore_patterns("__pycache__"))
    fields, silver = copy / "fields.yaml", copy / "tables" / "silver.yaml"
    lines = fields.read_text(encoding="utf-8").splitlines(keepends=True)
    [last] = [i for i, line in enumerate(lines) if line.startswith(LAST_CODE)]
    fields.write_text(
        "".join([*lines[: last + 1], new_feed.CODES, *lines[last + 1 :], new_feed.FIELDS]), encoding="utf-8"
    )
    silver.write_text(silver.read_text(encoding="utf-8") + new_feed.CONTRACTS, encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a shop with the two feeds makes of them in a process of its own."""
    folder = tmp_path_factory.mktemp("new_feed")
    schemas = declared(folder)
    command = [sys.executable, str(Path(new_feed.__file__)), str(folder), "embedded"]
    environment = {**os.environ, "PYTHONPATH": f"{schemas.parent}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    made: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert made["schemas"] == str(schemas)
    return made


pytestmark = pytest.mark.slow


def test_its_rows_are_in_silver_or_in_quarantine(found: dict[str, Any]) -> None:
    assert found["silver"] == [8, 2]
    assert (found["first quarantined"], found["second quarantined"]) == (1, 0), "a row of nobody"


def test_its_ids_make_persons(found: dict[str, Any]) -> None:
    assert found["devices"] == 1
    assert [who for who, *_ in found["first"]].count("w9") == 1


def test_its_behaviours_count_in_tags(found: dict[str, Any]) -> None:
    """Entered, given, hosts, visits, stores."""
    first = {who: numbers for who, *numbers in found["first"] if who}
    assert first == {"m1": [0, 0, 0, 0, 0], "m2": [2, 500, 1, 2, 0], "m3": [0, 0, 0, 0, 2], "w9": [2, 0, 2, 2, 0]}
    second = {who: numbers for who, *numbers in found["second"] if who}
    assert second == {"m1": [0, 300, 0, 1, 0], "m2": [3, 500, 1, 3, 0], "m3": [1, 0, 1, 1, 2], "w9": [2, 0, 2, 2, 0]}


def test_its_behaviours_count_in_audiences(found: dict[str, Any]) -> None:
    assert found["audiences"] == {"in_rooms": 2, "tipped": 1, "on_site": 2}, "m2 and w9; m2 with 5.00; m2 and m3"


def test_a_later_delivery_rewrites_what_it_touches(found: dict[str, Any]) -> None:
    assert found["as rebuilt"]


def test_its_products_and_sellers_have_codes(found: dict[str, Any]) -> None:
    assert found["codes"] == [["seller", "shop7"], ["seller", "shop8"], ["sku", "s9"]]


def test_status_lineage_drafts_and_pages_know_it(found: dict[str, Any]) -> None:
    assert set(new_feed.HEADERS) <= set(found["status"])
    assert found["lineage"] == ["live_rooms"]
    assert found["draft"] == ["live_rooms"]
    assert any(line.startswith("| 25 | `live_enter` | 进入直播间 |") for line in found["dictionary"])


def test_it_arrives_by_itself_or_with_the_feeds_of_reference(found: dict[str, Any]) -> None:
    assert found["together"] == {
        "live_rooms": ["live_rooms"],
        "reference": ["members", "products", "surveys", "manual_tags", "touches", "store_visits"],
    }
