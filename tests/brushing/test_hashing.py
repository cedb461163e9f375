"""An address is hashed on its way in: what reaches silver is the same for equal addresses and tells nothing of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from features.cleaning import Cleaner
from features.sources import Mapping
from lake.lake import Lake
from project.folder import salt_of
from project.loading import load_mappings
from schemas.errors import ConfigurationError

COLUMNS = ("订单号", "下单时间", "地址", "IP")
SHOWN = """feed: orders
files: orders/*.csv
format: csv
fields:
  order_id: 订单号
  ordered_at: 下单时间
  paid_at: 下单时间
  address_key: {column: 地址, hash: true}
  ip_key: {column: IP, hash: false}
"""


def mapping(folder: Path, text: str = SHOWN) -> Mapping:
    path = folder / "orders.yaml"
    path.write_text(text, encoding="utf-8")
    return load_mappings([path])[0]


def keys(made: Mapping, addresses: Sequence[str | None], salt: str = "salt") -> list[str | None]:
    rows = [["o", "2026-03-01 10:00:00", address, "10.0.0.1"] for address in addresses]
    block = pa.table({f"c{i}": pa.array([r[i] for r in rows], pa.string()) for i in range(len(COLUMNS))})
    with duckdb.connect() as con:
        cleaner = Cleaner(made, zone="Asia/Shanghai", currency="CNY", guest_ids=["0", "-"], connection=con, salt=salt)
        cleaned = cleaner(block, COLUMNS)
    assert not cleaned.refused.any()
    assert set(cleaned.rows["ip_key"].to_pylist()) == {"10.0.0.1"}
    return list(cleaned.rows["address_key"].to_pylist())


def test_equal_addresses_have_one_key_however_they_are_typed(tmp_path: Path) -> None:
    made = keys(
        mapping(tmp_path), ["北京市朝阳路12号3单元A", " 北京市 朝阳路１２号，3单元a ", "北京市朝阳路12号4单元A"]
    )
    assert made[0] == made[1] != made[2]
    assert made[0] == hashlib.sha256("salt:北京市朝阳路12号3单元a".encode()).hexdigest()


def test_no_address_has_no_key_and_another_salt_gives_others(tmp_path: Path) -> None:
    shown = mapping(tmp_path)
    assert keys(shown, [None, "", "-"]) == [None, None, None]
    assert keys(shown, ["上海"], salt="other") != keys(shown, ["上海"])


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("address_key: 地址", "must never be the address itself"),
        (
            "address_key: {column: 地址, hash: true}\n  seller_id: {column: IP, hash: true}",
            "seller_id cannot be hashed",
        ),
    ],
)
def test_a_mapping_says_whether_it_hashes(tmp_path: Path, field: str, said: str) -> None:
    text = SHOWN.split("  address_key")[0] + f"  {field}\n"
    with pytest.raises(ConfigurationError, match=said):
        mapping(tmp_path, text)


def test_a_lake_keeps_the_salt_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, given = Lake(tmp_path / "own", "UTC"), Lake(tmp_path / "given", "UTC")
    monkeypatch.delenv("SALT", raising=False)
    made = salt_of(own, "SALT")
    assert salt_of(own, "SALT") == made
    assert (own.root / "identity" / "_salt").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("SALT", "one")
    assert salt_of(given, "SALT") == salt_of(given, "SALT") == "one"
    with pytest.raises(ConfigurationError, match=r"SALT is not the one .* unset it"):
        salt_of(own, "SALT")
    monkeypatch.setenv("SALT", "two")
    with pytest.raises(ConfigurationError, match="give it the value it had"):
        salt_of(given, "SALT")
    monkeypatch.delenv("SALT")
    with pytest.raises(ConfigurationError, match="SALT, which is not set"):
        salt_of(given, "SALT")
