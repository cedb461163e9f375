"""What every verb shares: options, output for people and for machines, and how errors end."""

from __future__ import annotations

import errno
import getpass
import json
import math
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from typer.exceptions import TyperException

from jobs.progress import Steps
from lake import disk, releases
from lake.engine import Engine, Kind
from project.folder import Project
from schemas.errors import HuaxiangError, UsageError

ProjectOption = Annotated[
    Path, typer.Option("--project", "-p", envvar="HUAXIANG_PROJECT", help="Project folder.", show_default="this folder")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
WhoOption = Annotated[str | None, typer.Option("--by", help="Who asks; default: the user of this machine.")]
TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE", help="Write what took how long, as Perfetto and chrome://tracing open it."),
]
ReleaseOption = Annotated[str | None, typer.Option("--release", help="Release number or day; default: the latest.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder; default: the platform's place, or the project's exports.")
]
AgainOption = Annotated[bool, typer.Option("--again", help="Deliver anew although this was delivered before.")]
FullOption = Annotated[
    bool, typer.Option("--full", help="Send everybody anew to a platform that is sent what changed.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Deliver although a tag is held or a size is an alert; the manifest says so.")
]
EngineOption = Annotated[str | None, typer.Option("--engine", help="embedded or spark; default: huaxiang.yaml.")]


def asker(by: str | None) -> str:
    """Who is noted as the one who asked."""
    return by or os.environ.get("HUAXIANG_USER") or getpass.getuser()


def whole_day(text: str) -> datetime:
    """The midnight of a day that an option names."""
    try:
        return datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        wrong = "there is no such day" if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", text) else "no day"
        raise typer.BadParameter(f"{text!r}: {wrong}; write it as 2026-03-31") from None


def day_option(name: str, help_text: str) -> Any:
    """An option that takes a day."""
    return typer.Option(name, parser=whole_day, metavar="YYYY-MM-DD", help=help_text)


AsOfOption = Annotated[datetime | None, day_option("--as-of", "Last whole business day counted.")]
HERE = Path()
EXACT_BELOW = 10_000
"""From here on two decimals are more than six significant digits."""
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""What a folder without rights, a read-only disk, a full one or a quota answers."""
DEFECT = 70
"""Exit code of what should not happen; everything a user can cause has a code of its own."""

F = TypeVar("F", bound=Callable[..., Any])


def verb(function: F) -> F:
    """Errors of the user's making end in one message and their exit code; defects in a short report, never silence."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        as_json = bool(kwargs.get("as_json"))
        try:
            return function(*args, **kwargs)
        except HuaxiangError as e:
            fail(str(e), type(e).__name__, e.exit_code, as_json)
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except OSError as e:
            if e.errno not in UNWRITABLE and not disk.is_full(e):
                _defect(e, as_json)
            where = e.filename or disk.which(e)
            fail(f"{where}: {e.strerror or e}; nothing half-made is published", "NotWritable", 1, as_json)
        except KeyboardInterrupt:
            fail("stopped; run the same command again to go on", "Interrupted", 130, as_json)
        except Exception as e:
            if not disk.is_full(e):
                _defect(e, as_json)
            fail(f"the disk is full ({disk.which(e)}); nothing half-made is published", "NotWritable", 1, as_json)

    return guarded  # type: ignore[return-value]


def _defect(e: Exception, as_json: bool) -> None:
    if os.environ.get("HUAXIANG_DEBUG"):
        traceback.print_exc()
    first = str(e).splitlines()[0] if str(e) else "no message"
    said = "This is a defect of Huaxiang, not of your input; --debug shows where it happened."
    fail(f"{type(e).__name__}: {first}\n{said}", "Defect", DEFECT, as_json)


def fail(message: str, kind: str, code: int, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": kind, "message": message}, ensure_ascii=False))
    else:
        print(f"huaxiang: {message}", file=sys.stderr)
    raise typer.Exit(code)


def json_value(value: Any) -> Any:
    """Any result as JSON values: dataclasses as objects, days and stamps in ISO form."""
    if is_dataclass(value) and not isinstance(value, type):
        return {k: json_value(v) for k, v in asdict(value).items()}
    if isinstance(value, dict):
        return {str(k): json_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [json_value(v) for v in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def show_json(value: Any) -> None:
    print(json.dumps(json_value(value), ensure_ascii=False, indent=1))


def show_table(
    title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str] | None = None, *, exact: bool = False
) -> None:
    """Rows as a table on a terminal that is as wide as it needs to be. ``exact``: small fractions keep six digits."""
    names = list(columns or (rows[0] if rows else []))
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for name in names:
        numeric = bool(rows) and all(isinstance(r.get(name), (int, float, type(None))) for r in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for r in rows:
        table.add_row(*(_cell(r.get(name), exact) for name in names))
    console().print(table)


def _cell(value: Any, exact: bool = False) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and exact and (abs(value) < EXACT_BELOW or not math.isfinite(value)):
        return f"{value:,.6g}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)


def console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160, markup=False)


def stamp(text: str, option: str) -> datetime:
    """A moment as an option gives it, in UTC; UsageError without a zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"{option} {text!r} is no ISO 8601 stamp with a zone, such as 2026-03-31T06:00:00+08:00")
    return found.astimezone(UTC)


def open_project(folder: Path) -> Project:
    return Project.load(folder)


def tell_which_release(project: Project, asked: Any = None) -> None:
    """Say on standard error which release is read where it is not the one that was written last.

    ``latest`` never goes back to an older day that was run again; ``asked`` is what the user named, and needs no telling.
    """
    if asked is not None:
        return
    read, written = releases.latest(project.lake), releases.entries(project.lake)[-1:]
    for last in written:
        if read is not None and last.number != read.number and last.rollback_to != read.number:
            print(
                f"reading release {read.number} of {read.as_of}, the newest day; the last that was written is release "
                f"{last.number} of {last.as_of}: --release {last.number} reads it",
                file=sys.stderr,
            )


def target_file(path: Path | None, option: str) -> Path | None:
    """A file that a verb is to write, its folders made; HuaxiangError where none can be written there."""
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.name or path.is_dir():
            raise HuaxiangError(f"{option} {path} is a folder; name a file in it")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except (OSError, ValueError) as e:
        raise HuaxiangError(f"{option} {path} cannot be written: {getattr(e, 'strerror', None) or e}") from None
    return path


def engine_kind(kind: str | None) -> Kind | None:
    """What ``--engine`` names; UsageError for what is none, which would otherwise be taken for Spark."""
    if kind not in (None, "embedded", "spark"):
        raise UsageError(f"--engine is embedded or spark, not {kind!r}")
    return kind  # type: ignore[return-value]


DueOption = Annotated[
    bool,
    typer.Option(
        "--due", help="Pass over an audience that its rhythm (refresh:) does not ask for on the day (exit code 10)."
    ),
]


@contextmanager
def engine_of(project: Project, kind: str | None) -> Iterator[Engine]:
    """The project's engine, or the one asked for; closed at the end."""
    with project.open_engine(engine_kind(kind)) as engine:
        yield engine


def steps_for(as_json: bool, plan: int = 0) -> Steps:
    return Steps(quiet=as_json, plan=plan)
