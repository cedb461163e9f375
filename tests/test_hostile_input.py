"""What a shop's people may type by mistake or worse ends in one sentence, never in a defect."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from audiences.delivery import cell
from cli.session import target_file
from features.frozen_numbers import Break
from jobs.pipeline import widen
from lake.lake import Lake
from project import setup
from project.folder import Project
from queries.gap import gap
from schemas.configuration import read_yaml
from schemas.errors import ConfigurationError, HuaxiangError


def test_yaml_nested_ten_thousand_deep_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text("a: 1\ntags: " + "[" * 10_000 + "]" * 10_000, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"deep\.yaml:2: nested more than"):
        read_yaml(file)


@pytest.mark.parametrize("target", ["NaN", "Infinity", "-1", "0", "1e400"])
def test_a_target_that_is_no_money_is_refused(tmp_path: Path, target: str) -> None:
    setup.init(tmp_path / "shop")
    with pytest.raises(HuaxiangError, match="--target is money above 0"):
        gap(Project.load(tmp_path / "shop"), Decimal(target), None)


def test_a_folder_or_a_place_without_files_is_no_target(tmp_path: Path) -> None:
    for path in (Path("/"), tmp_path, tmp_path / "file" / "x.html"):
        (tmp_path / "file").touch()
        with pytest.raises(HuaxiangError, match="--out"):
            target_file(path, "--out")
    assert target_file(tmp_path / "new" / "x.html", "--out") == tmp_path / "new" / "x.html"
    assert not (tmp_path / "new" / "x.html").exists()


def test_columns_that_a_contract_gained_are_added_to_an_older_lake(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    lake = Lake(tmp_path, "Asia/Shanghai")
    old = pa.schema([f for f in lake.schema("silver.orders") if f.name not in ("address_key", "ip_key")])
    DeltaTable.create(str(lake.path("silver.orders")), schema=old, partition_by=["event_month"])
    widen(lake)
    assert {"address_key", "ip_key"} <= set(lake.schema("silver.orders").names)
    assert lake.version("silver.surveys") is None
    before = lake.versions()
    widen(lake)
    assert lake.versions() == before


def test_text_that_a_spreadsheet_would_run_is_marked_in_a_profile_csv() -> None:
    for text, written in (("=1+1", "'=1+1"), (" ＝cmd", "' ＝cmd"), ("北京", "北京"), ("a=b", "a=b"), ("\t1", "'\t1")):
        assert cell(text) == written


@pytest.mark.parametrize("default", [(), (float("nan"),), (float("inf"),), (9.0, 1.0), (0.0,)])
def test_default_numbers_of_an_estimate_are_numbers_in_order(default: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Break(estimate="silence_cut", share=0.9, default=default)
