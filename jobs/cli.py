"""The command ``huaxiang``: the table of its verbs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

os.environ.setdefault("RUST_LOG", "error")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import typer
from typer.exceptions import TyperException

EXIT_CODES = """
Exit codes: 0 done, 1 refused (the message says why), 2 wrong usage, 3 configuration, 4 some input was not taken,
5 an audit stopped the publication, 6 another run holds the table, 7 not there,
8 older than what is there, 70 a defect of Huaxiang, 130 stopped.
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


def _register() -> None:
    from jobs.verbs import audience, insight, profile, project, release, report, run, tag

    verbs: tuple[Callable[..., None], ...] = (
        *(project.init, project.check, project.demo),
        *(run.ingest, run.run, run.backfill, run.status, run.sql, profile.profile),
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
    if DEBUG in sys.argv:
        sys.argv.remove(DEBUG)
        os.environ["HUAXIANG_DEBUG"] = "1"
    try:
        _register()
    except KeyboardInterrupt:
        sys.exit(130)
    if "--json" not in sys.argv:
        app()
        return
    sys.exit(_for_machines())


def _for_machines() -> int:
    """The verb's exit code; wrong usage is said as JSON, as every other error is."""
    try:
        return app(standalone_mode=False) or 0
    except TyperException as e:
        print(json.dumps({"error": "UsageError", "message": e.format_message()}, ensure_ascii=False))
        return e.exit_code


if __name__ == "__main__":
    main()
