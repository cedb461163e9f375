"""The command ``huaxiang``: the table of its verbs."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
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
5 an audit, a held tag, an audience's size or a quiet hour stopped it, 6 another run holds the table, 7 not there
or not readable, 8 older than what is there, 9 an object store fails,
10 an audience is a draft, paused, expired or not due, 70 a defect of Huaxiang, 130 stopped.
A reader that goes away (| head) changes none of them.
"""

DEBUG = "--debug"


def _version(asked: bool) -> None:
    if asked:
        print(f"huaxiang {__version__}")
        raise typer.Exit


VERBS = {
    **dict.fromkeys(("init", "check", "demo"), "project"),
    **dict.fromkeys(("ingest", "run", "backfill"), "run"),
    "status": "status",
    "sql": "sql",
    "profile": "profile",
    **dict.fromkeys(("gap", "flow"), "insight"),
    "user": "audience",
    "report": "report",
}
"""Verbs in the order in which they are shown, with the module that has the function of that name."""
GROUPS = {
    "source": ("project", "Mappings of files to feeds."),
    "release": ("release", "What readers see: list, compare, go back."),
    "audience": ("audience", "Audiences: who is in, why, and the file."),
    "campaign": ("campaign", "Campaigns: what a goal needs, who gets which arm, and what it brought."),
    "tag": ("tag", "The catalogue of tags."),
    "lake": ("care", "The lake's care: free space, prove that releases can be read."),
    "portal": ("portal", "The web application, for people without a command line."),
}
"""Groups of verbs, with the module that has the group of that name, and what it is for."""


def commands(asked: str | None = None) -> typer.Typer:
    """Every verb; or ``asked`` and of the others only what ``--help`` says of them: their modules stay unopened."""
    app = typer.Typer(
        name="huaxiang",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Order, browse and share logs -> user profiles -> audience files.",
        epilog=EXIT_CODES,
    )
    app.callback()(_options)
    for name, module in VERBS.items():
        real = asked in (None, name)
        app.command(name)(getattr(import_module(f"cli.{module}"), name) if real else _shown(module, name))
    for name, (module, what) in GROUPS.items():
        real = asked in (None, name)
        app.add_typer(getattr(import_module(f"cli.{module}"), name) if real else typer.Typer(), name=name, help=what)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _shown(module: str, name: str) -> Callable[[], None]:
    """A verb that is only shown, with its own words."""

    def verb() -> None:
        raise RuntimeError(f"{name} was not asked for")

    verb.__doc__ = next(
        ast.get_docstring(node)
        for node in _parsed(module).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    return verb


@cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))


def main() -> None:
    """Entry point of the distribution. ``--debug`` may stand anywhere and belongs to no verb."""
    sys.stdout, sys.stderr = Listened(sys.stdout), Listened(sys.stderr)
    sys.unraisablehook = pass_over_writers
    if DEBUG in sys.argv:
        sys.argv.remove(DEBUG)
        os.environ["HUAXIANG_DEBUG"] = "1"
    try:
        app = commands(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(_ended(_for_machines(app) if "--json" in sys.argv else _for_people(app)))


def _for_people(app: typer.Typer) -> int:
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


def _for_machines(app: typer.Typer) -> int:
    """The verb's exit code; wrong usage is said as JSON, as every other error is."""
    try:
        return app(standalone_mode=False) or 0
    except TyperException as e:
        print(json.dumps({"error": "UsageError", "message": e.format_message()}, ensure_ascii=False))
        return e.exit_code


if __name__ == "__main__":
    main()
