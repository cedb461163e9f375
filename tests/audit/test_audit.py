"""Great Expectations on staged frames of either engine."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.profile.snapshots import day_of
from lake.audit import Auditor, audit
from lake.engine import Engine
from lake.lake import Lake
from lake.statement import figures_of_files, figures_of_frame, for_statements
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract, contracts
from schemas.errors import AuditError
from schemas.suite import History, suite
from tests.audit.oracle import broken

AT = datetime(2026, 3, 1, 2, tzinfo=UTC)
LINEAGE = {"_batch_id": "b1", "_file": "f.csv", "_ingested_at": AT, "event_month": 202603}


def line(n: int, **changed: Any) -> dict[str, Any]:
    made = {"order_id": f"o{n}", "line_id": "1", "ordered_at": AT, "quantity": 1, "net_amount_minor": 100}
    return {**made, "list_amount_minor": 120, **LINEAGE, "_row": n, "row_hash": f"h{n}", **changed}


def member(n: int, **changed: Any) -> dict[str, Any]:
    return {"member_id": f"m{n}", "phone": "13800000000", **LINEAGE, "_row": n, "row_hash": f"h{n}", **changed}


def staged(lake: Lake, table: str, *rows: dict[str, Any]) -> dict[str, Path]:
    """Rows of one month staged as ingest stages them."""
    c = contract(table)
    folder = lake.path(table) / uuid.uuid4().hex
    (folder / "event_month=202603").mkdir(parents=True)
    schema = file_schema(arrow_schema(c), c.partitions)
    plain = [{k: v for k, v in r.items() if k not in c.partitions} for r in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema), folder / "event_month=202603" / "part.parquet")
    return {table: folder}


def test_good_rows_pass_and_the_report_says_how_much_was_judged(engine: Engine, lake: Lake) -> None:
    report = audit(engine, lake, staged(lake, "silver.order_lines", line(1), line(2)))
    assert report.warnings == ()
    assert report.expectations["silver.order_lines"] > 10


def test_a_fail_names_table_expectation_and_what_was_seen(engine: Engine, lake: Lake) -> None:
    folder = staged(lake, "silver.order_lines", line(1), line(2, net_amount_minor=-5), line(3, quantity=None))
    with pytest.raises(AuditError) as stopped:
        audit(engine, lake, folder)
    told = str(stopped.value)
    assert "silver.order_lines: net_amount_minor is at least 0: 1 of 3 rows break it (-5)" in told
    assert "silver.order_lines: quantity is present: 1 of 3 rows break it" in told


BREAK = {"name": "rfm", "position": 1, "number": 2.0, "spec": "", "fitted_on": date(2026, 3, 1)}
WRONG: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "silver.order_lines": (line, [{"net_amount_minor": -5, "quantity": None}, {"list_amount_minor": 50}, {"_row": 1}]),
    "silver.members": (member, [{"row_hash": None}, {"gender": "secret"}, {"birth_date": date(1800, 1, 1)}, {}, {}]),
    "profile.breaks": (
        lambda n, **changed: {**BREAK, "as_of": date(2026, 3, 2), "position": n, **changed},
        [{"as_of": date(2026, 3, 1)}, {"name": None}, {"position": 1}, {"position": -1}],
    ),
}


@pytest.mark.parametrize("table", WRONG)
def test_the_statement_finds_what_great_expectations_finds(engine: Engine, lake: Lake, table: str) -> None:
    """Of the files and, where they are another machine's, of the engine's frame."""
    made, changes = WRONG[table]
    rows = [made(1), *(made(n, **changed) for n, changed in enumerate(changes, start=2)), made(1)]
    c = contract(table)
    path = lake.path(table) / "part.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(c)), path)
    expectations = suite(c, days=(date(2026, 3, 2),) if c.day_partition else (), before=History(900))
    frame = engine.parquet([str(path)], arrow_schema(c))
    counted = figures_of_files(for_statements(1), c, expectations, path.parent, [str(path)], arrow_schema(c))
    assert counted == figures_of_frame(c, expectations, frame)
    failed = [f for f in counted if not f.holds]
    assert len(failed) >= 4
    assert sorted((f.level, f.expected, str(f.observed).split(" (")[0]) for f in failed) == broken(
        c, expectations, frame
    )


def test_every_expectation_of_every_contract_is_in_the_statement(lake: Lake) -> None:
    con = for_statements(1)
    for c in contracts().values():
        expectations = suite(c, days=(date(2026, 3, 2),), before=History(100_000))
        counted = figures_of_files(con, c, expectations, lake.root, (), arrow_schema(c))
        assert len(counted) == len(expectations)
        volume = {e.says for e in expectations if e.kwargs.get("min_value") and not e.about_rows}
        assert {f.expected for f in counted if not f.holds} == volume, c.name


def test_what_was_not_counted_is_not_confirmed(embedded: Engine, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.audit.figures_of_files", lambda *given: figures_of_files(*given)[1:])
    auditor = Auditor(embedded, lake)
    confirm = auditor(staged(lake, "silver.order_lines", line(1)))
    with pytest.raises(AuditError, match=r"silver.order_lines: all \d+ expectations of its contract were counted"):
        confirm()


def test_what_breaks_a_contract_is_not_confirmed(embedded: Engine, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing had stopped it before."""
    monkeypatch.setattr("schemas.suite.Counted.holds", property(lambda self: True))
    confirm = Auditor(embedded, lake)(staged(lake, "silver.order_lines", line(1, quantity=None)))
    with pytest.raises(AuditError, match=r"silver.order_lines: no row breaks what must hold"):
        confirm()


def test_a_repeated_key_stops_the_publication(engine: Engine, lake: Lake) -> None:
    with pytest.raises(AuditError, match=r"no order_id x line_id x row_hash stands on two rows: 1 seen"):
        audit(engine, lake, staged(lake, "silver.order_lines", line(1), line(1), line(2)))


def test_a_later_version_of_a_row_is_no_repeated_key(embedded: Engine, lake: Lake) -> None:
    audit(embedded, lake, staged(lake, "silver.order_lines", line(1), line(1, row_hash="later")))


def test_a_version_that_is_again_as_it_was_is_no_repeated_key(engine: Engine, lake: Lake) -> None:
    """A price goes up and back: three lists, the first and the last alike; dated ones would be one list twice."""
    lists = [line(1, _file="a"), line(1, _file="b", row_hash="other"), line(1, _file="c")]
    undated = [{**row, "source_time": None} for row in lists]
    audit(engine, lake, staged(lake, "silver.order_lines", *undated))
    with pytest.raises(AuditError, match="stands on two rows"):
        audit(engine, lake, staged(lake, "silver.order_lines", *undated, undated[0]))


def test_a_warning_is_returned_and_stops_nothing(engine: Engine, lake: Lake) -> None:
    report = audit(engine, lake, staged(lake, "silver.order_lines", line(1, list_amount_minor=50), line(2)))
    (warning,) = report.warnings
    assert str(warning).startswith("silver.order_lines: list_not_below_net: list_amount_minor is at least")


def test_values_of_personal_fields_are_not_shown(embedded: Engine, lake: Lake, tmp_path: Path) -> None:
    rows = [member(1, gender="secret-value"), member(2, row_hash=None)]
    with pytest.raises(AuditError) as stopped:
        audit(embedded, lake, staged(lake, "silver.members", *rows), tmp_path / "docs")
    pages = [p.read_text(encoding="utf-8") for p in (tmp_path / "docs").rglob("*.html")]
    assert pages
    for text in (str(stopped.value), *pages):
        assert "secret-value" not in text
        assert "13800000000" not in text


def test_only_the_day_of_the_run_may_be_in_a_slice(embedded: Engine, lake: Lake) -> None:
    schema = arrow_schema(contract("profile.breaks"))
    rows = [{"as_of": date(2026, 3, d), "name": "rfm", "position": 1, "number": 2.0} for d in (1, 2)]
    folder = lake.path("profile.breaks") / "staged"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "part.parquet")
    with pytest.raises(AuditError, match=r"profile.breaks: as_of is one of 2026-03-02: 1 of 2 rows break it"):
        Auditor(embedded, lake).judge({"profile.breaks": folder}, {"profile.breaks": [date(2026, 3, 2)]})


def stage_day(lake: Lake, folder: Path, table: str, day: date, rows: list[dict[str, Any]]) -> None:
    """Rows of one day below a staging folder."""
    c = contract(table)
    place = folder / f"as_of={day}" / ("bucket=0" if "bucket" in c.partitions else "")
    place.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, file_schema(arrow_schema(c), c.partitions)), place / "part.parquet")


def test_a_step_that_stages_a_row_of_another_day_is_stopped_by_the_audit(embedded: Engine, lake: Lake) -> None:
    day = date(2026, 3, 2)
    with (
        pytest.raises(AuditError, match=r"profile.breaks: as_of is one of 2026-03-02: 1 of 2 rows break it"),
        day_of(lake, ["profile.breaks"], day, run_id="r1", audit=Auditor(embedded, lake)) as folders,
    ):
        for one in (day, date(2026, 3, 1)):
            stage_day(lake, folders["profile.breaks"], "profile.breaks", one, [BREAK])
    assert lake.files("profile.breaks") == []


def test_a_day_with_far_fewer_rows_than_the_day_before_is_warned_of(embedded: Engine, lake: Lake) -> None:
    auditor = Auditor(embedded, lake)
    users = [{"uid": n, "user_id": f"u{n}", "is_member": True} for n in range(1_200)]
    for day, rows in ((1, users), (2, users[:1_000]), (3, users[:300])):
        as_of = date(2026, 3, day)
        with day_of(lake, ["profile.profile"], as_of, run_id=f"r{day}", audit=auditor) as folders:
            stage_day(lake, folders["profile.profile"], "profile.profile", as_of, rows)
    assert [str(w) for w in auditor.warnings] == [
        "profile.profile: there are at least 500 and at most 2,000 rows, as there were 1,000 on 2026-03-02: 300 seen"
    ]


def test_pages_are_kept_of_the_newest_audits_only(embedded: Engine, lake: Lake, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    seen: list[set[str]] = []
    for _ in range(4):
        auditor = Auditor(embedded, lake, docs, keep_docs=2)
        auditor(staged(lake, "silver.order_lines", line(1)))()
        auditor.write_docs()
        seen.append({p.relative_to(docs).as_posix() for p in docs.rglob("*.html")} - {"index.html"})
    assert [len(pages) for pages in seen] == [2, 4, 4, 4], "an index and a page of each audit that is kept"
    assert not seen[-1] & seen[1], "the oldest are gone"
    assert seen[-1] > seen[2] & seen[3] != set()
    listed = (docs / "index.html").read_text(encoding="utf-8")
    (page,) = {p for p in seen[-1] - seen[2] if p.startswith("validations")}
    assert page in listed


def test_a_missing_column_is_named(embedded: Engine, lake: Lake) -> None:
    (folder,) = staged(lake, "silver.order_lines", line(1)).values()
    (path,) = folder.rglob("*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["sku_id"]), path)
    with pytest.raises(AuditError, match="the columns are those of the contract: missing sku_id"):
        Auditor(embedded, lake).judge({"silver.order_lines": folder})


def test_data_docs_name_every_table_that_was_judged(embedded: Engine, lake: Lake, tmp_path: Path) -> None:
    auditor = Auditor(embedded, lake, tmp_path / "docs")
    auditor(staged(lake, "silver.order_lines", line(1)) | staged(lake, "silver.members", member(1)))
    auditor.confirm()
    assert auditor.write_docs() == []
    (page,) = (tmp_path / "docs" / "validations").rglob("*.html")
    shown = page.read_text(encoding="utf-8")
    for table in ("silver.order_lines", "silver.members"):
        assert f"{table}: no row breaks what must hold" in shown


def test_without_a_folder_no_docs_are_written(embedded: Engine, lake: Lake) -> None:
    auditor = Auditor(embedded, lake)
    auditor(staged(lake, "silver.order_lines", line(1)))
    assert auditor.write_docs() == []


def test_what_others_brought_along_is_not_imported_with_the_auditor_and_stays_there_for_others() -> None:
    code = (
        "import sys; from lake.expectations import TAKEN_ALONG, great_expectations as gx; gx();"
        "print(*(n for n in TAKEN_ALONG if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
