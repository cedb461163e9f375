"""Files that leave: safe in spreadsheets, exact for machines, whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import signal
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences import delivery
from audiences.delivery import (
    BOM,
    DeliveryExistsError,
    cell,
    clear_partials,
    csv_bytes,
    delivery_folder,
    read_manifest,
    seal,
    unmarked,
)
from schemas.errors import HuaxiangError


def deliver(folder: Path, file_name: str, content: bytes) -> Path:
    """A delivery of one file."""
    with delivery_folder(folder) as out:
        (out / file_name).write_bytes(content)
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        seal(out, {"files": [{"file": file_name, "bytes": len(content), "checksum": checksum}]})
    return folder


DANGEROUS = "=+-@\t\r\n"


def read_back(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        '=HYPERLINK("http://x","y")',
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        "\u3000=1",
        BOM + "=1",
        "\u200b\u200e=1",
        " \t " + BOM + "=1",
        "＝1+1",
        "＋1",
        "－1",
        "＠SUM",
        "﹣1",
        " ＝1",
        "\x00=1",
        "\u2028=1",
    ],
)
@pytest.mark.parametrize("excel", [True, False])
def test_text_that_a_spreadsheet_would_run_is_marked(text: str, excel: bool) -> None:
    assert cell(text, excel) == "'" + text


@pytest.mark.parametrize(
    "text",
    ["123456789012345678", "138001380001", "007", "0012", "12E5", "1.5e300", "１２３４５６７８９０１２", " 0123 "],
)
def test_long_ids_and_leading_zeros_stay_text_in_excel_and_as_they_are_for_machines(text: str) -> None:
    assert cell(text) == "'" + text
    assert cell(text, excel=False) == text


@pytest.mark.parametrize(
    "text", ["北京", "abc", "a=1", "13800138000", "0", "12", "3.14", "2026-03-01", "a@b.cn", "", "资生堂 - 红"]
)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert cell(text) == text


def test_numbers_are_numbers_unless_a_spreadsheet_would_round_them() -> None:
    assert [cell(v) for v in (-5, 0, 999_999_999_999_999, 1234567890123456, -1.5, None, True)] == [
        "-5", "0", "999999999999999", "'1234567890123456", "-1.5", "", "true",
    ]  # fmt: skip
    assert cell(1234567890123456, excel=False) == "1234567890123456"


def test_days_and_times_are_iso() -> None:
    assert cell(date(2026, 3, 1)) == "2026-03-01"
    assert cell(datetime(2026, 3, 1, 8, 5, tzinfo=UTC)) == "2026-03-01 08:05:00+00:00"


def test_a_phone_in_clear_is_usable_by_machines_and_safe_in_excel() -> None:
    assert cell("+8613800138000", excel=False) == "+8613800138000"
    assert cell("+8613800138000") == "'+8613800138000"


@given(st.lists(st.text(), min_size=1, max_size=5), st.booleans())
def test_any_text_comes_back_by_taking_one_mark_off(texts: list[str], excel: bool) -> None:
    texts = [t for t in texts if not any(0xD800 <= ord(c) <= 0xDFFF for c in t)]
    rows = read_back(csv_bytes(pa.table({"t": pa.array(texts, pa.string())}), excel))
    assert rows[0] == ["t"]
    assert [r[0] for r in unmarked(rows[1:])] == texts
    assert not any(r[0].startswith(tuple(DANGEROUS)) for r in rows[1:] if excel)


def test_the_file_begins_with_a_mark_of_utf8_for_excel_only() -> None:
    table = pa.table({"城市": ["北京"]})
    assert csv_bytes(table) == b"\xef\xbb\xbf" + "城市\r\n北京\r\n".encode()
    assert csv_bytes(table, excel=False) == "城市\r\n北京\r\n".encode()


def test_quotes_commas_and_line_ends_survive() -> None:
    hard = ['a "b", c', "line\nbreak", "cr\rlf\r\n", ",", '"']
    assert [r[0] for r in read_back(csv_bytes(pa.table({"t": hard})))[1:]] == hard


def test_an_empty_audience_is_a_file_with_a_header() -> None:
    assert csv_bytes(pa.table({"user_id": pa.array([], pa.string())}), excel=False) == b"user_id\r\n"


def test_a_delivery_is_for_its_owners_eyes_only(tmp_path: Path) -> None:
    done = deliver(tmp_path / "x" / "one", "one.csv", b"a\r\n1\r\n")
    assert read_manifest(done)["files"][0]["bytes"] == 6
    assert (done.stat().st_mode & 0o077, (done / "manifest.json").stat().st_mode & 0o077) == (0, 0)


def test_a_file_changed_after_delivery_is_found_out(tmp_path: Path) -> None:
    done = deliver(tmp_path / "one", "one.csv", b"a\r\n1\r\n")
    (done / "one.csv").write_bytes(b"a\r\n2\r\n")
    with pytest.raises(HuaxiangError, match="changed after it was delivered"):
        read_manifest(done)
    (done / "one.csv").unlink()
    with pytest.raises(HuaxiangError, match="is gone"):
        read_manifest(done)


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    deliver(tmp_path / "one", "one.csv", b"1")
    with pytest.raises(DeliveryExistsError):
        deliver(tmp_path / "one", "one.csv", b"2")
    assert (tmp_path / "one" / "one.csv").read_bytes() == b"1"
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_of_two_deliveries_of_one_name_at_once_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, raced = delivery._sync_folder, []

    def race(path: Path) -> None:
        if not raced:
            raced.append(path)
            deliver(tmp_path / "one", "one.csv", b"other")
        sync(path)

    monkeypatch.setattr(delivery, "_sync_folder", race)
    with pytest.raises(DeliveryExistsError, match="meanwhile"):
        deliver(tmp_path / "one", "one.csv", b"mine")
    assert (tmp_path / "one" / "one.csv").read_bytes() == b"other"


KILLS = ["_sync_file", "_write_synced", "_sync_folder"]


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_delivery_killed_at_any_moment_leaves_both_files_or_none(tmp_path: Path, call: int, when: str) -> None:
    # The four moments: the file, the manifest, the hidden folder, the folder above after the rename.
    child = os.fork()
    if child == 0:
        seen = [0]

        def dying(real):  # type: ignore[no-untyped-def]
            def step(*args):  # type: ignore[no-untyped-def]
                if seen[0] == call and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                real(*args)
                if seen[0] == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen[0] += 1

            return step

        for name in KILLS:
            setattr(delivery, name, dying(getattr(delivery, name)))
        deliver(tmp_path / "one", "one.csv", b"1")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    visible = sorted(p.name for p in (tmp_path / "one").glob("*"))
    assert visible == (["manifest.json", "one.csv"] if call == 3 else [])
    assert clear_partials(tmp_path) == (0 if call == 3 else 1)
    if call < 3:
        assert read_manifest(deliver(tmp_path / "one", "one.csv", b"1"))["files"][0]["bytes"] == 1
