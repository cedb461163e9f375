"""The command ``huaxiang``: the table of its verbs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

os.environ.setdefault("RUST_LOG", "error")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import typer
from typer.exceptions import TyperException

from cli.listened import Listened
from jobs import __version__
from lake.disk import pass_over_writers

EXIT_CODES = """
Exit codes: 0 done, 1 refused (the message says why), 2 wrong usage, 3 configuration, 4 some input was not taken,
5 an audit or a held tag stopped the publication, 6 another run holds the table, 7 not there,
8 older than what is there, 9 an object store fails, 70 a defect of Huaxiang, 130 stopped.
A reader that goes away (| head) changes none of them.
"""

DEBUG = "--debug"

app = typer.Typer(
    name="huaxiang",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Order, browse and share logs -> user profiles -> audience files.",
    epilog=EXIT_CODES,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"huaxiang {__version__}")
        raise typer.Exit


def _register() -> None:
    from cli import audience, insight, profile, project, release, report, run, sql, tag

    verbs: tuple[Callable[..., None], ...] = (
        *(project.init, project.check, project.demo),
        *(run.ingest, run.run, run.backfill, run.status, sql.sql, profile.profile),
        *(insight.gap, insight.flow),
        *(audience.user, report.report),
    )
    for function in verbs:
        app.command()(function)
    for name, group in (
        ("source", project.source),
        ("release", release.release),
        ("audience", audience.audience),
        ("tag", tag.tag),
    ):
        app.add_typer(group, name=name)


def main() -> None:
    """Entry point of the distribution. ``--debug`` may stand anywhere and belongs to no verb."""
    sys.stdout, sys.stderr = Listened(sys.stdout), Listened(sys.stderr)
    sys.unraisablehook = pass_over_writers
    if DEBUG in sys.argv:
        sys.argv.remove(DEBUG)
        os.environ["HUAXIANG_DEBUG"] = "1"
    try:
        _register()
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(_ended(_for_machines() if "--json" in sys.argv else _for_people()))


def _for_people() -> int:
    try:
        app()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(e.code is not None)
    return 0


def _ended(code: int) -> int:
    """The exit code, once everything that was said has been written: an output that cannot be is no success."""
    try:
        sys.stdout.flush()
    except OSError as e:
        print(f"huaxiang: the output could not be written: {e.strerror}", file=sys.stderr)
        # The interpreter flushes it once more when it ends.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        return code or 1
    return code


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _for_machines() -> int:
    """The verb's exit code; wrong usage is said as JSON, as every other error is."""
    try:
        return app(standalone_mode=False) or 0
    except TyperException as e:
        print(json.dumps({"error": "UsageError", "message": e.format_message()}, ensure_ascii=False))
        return e.exit_code


if __name__ == "__main__":
    main()
