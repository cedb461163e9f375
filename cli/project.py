"""``huaxiang init | check | demo | source draft``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.session import (
    HERE,
    EngineOption,
    JsonOption,
    ProjectOption,
    TraceOption,
    engine_kind,
    open_project,
    show_json,
    target_file,
    verb,
)
from project import setup
from project.folder import SETTINGS_FILE
from schemas.errors import InputError

source = typer.Typer(no_args_is_help=True)


@verb
def init(folder: Annotated[Path, typer.Argument(help="New folder.")], as_json: JsonOption = False) -> None:
    """Make a project folder from the example shop."""
    made = setup.init(folder)
    if as_json:
        show_json({"folder": folder, "files": made})
        return
    print(
        f"{folder} is ready ({len(made)} files). Next:\n"
        f"  huaxiang source draft FILE            propose a mapping for a file of yours (goes to {folder}/sources/)\n"
        f"  put files into {folder}/inbox, then\n"
        f"  huaxiang ingest -p {folder}\n"
        f"  huaxiang run --as-of DAY -p {folder}"
    )


@verb
def check(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Validate the project folder and print what is in force."""
    report = setup.check(project)
    if as_json:
        show_json(report)
    else:
        for key, value in report.settings.items():
            print(f"{key}: {value}")
        counts = {n: getattr(report, n) for n in ("sources", "tags", "audiences", "platforms", "campaigns")}
        # Audiences are judged against the tags: without these nobody can say how many there are.
        print(", ".join(f"{name} could not be read" if n is None else f"{n} {name}" for name, n in counts.items()))
        for w in report.warnings:
            print(f"warning: {w}")
        for m in report.mistakes:
            print(m)
        print("No mistakes found." if not report.mistakes else f"{len(report.mistakes)} mistakes.")
    if report.mistakes:
        raise typer.Exit(3)


@verb
def demo(
    data: Annotated[str, typer.Option(help="simulator, completejourney, online-retail or beibei.")] = "simulator",
    file: Annotated[list[Path] | None, typer.Option(help="The data file, for online-retail and beibei.")] = None,
    users: Annotated[int, typer.Option(min=50, help="Users of the simulated shop.")] = 20_000,
    days: Annotated[int, typer.Option(min=30, help="Days that the simulated shop has existed.")] = 180,
    seed: Annotated[int, typer.Option(help="Seed of the simulated shop.")] = 7,
    folder: Annotated[Path, typer.Option("--dir", help="Project folder to make or go on with.")] = Path("demo"),
    engine: EngineOption = None,
    trace: TraceOption = None,
    as_json: JsonOption = False,
) -> None:
    """From raw logs to audience files: a simulated shop, or a real data set.

    Goes on to the end where a file is refused, names it, and ends with 4.
    """
    from cli import demo as steps

    chosen, to = engine_kind(engine), target_file(trace, "--trace")
    report = steps.demo(
        folder, data=data, files=file or [], users=users, days=days, seed=seed, engine=chosen, quiet=as_json, trace=to
    )
    if as_json:
        show_json(report)
    else:
        print(report.text())
    if report.refused:
        raise typer.Exit(4)


@source.command("draft")
@verb
def draft(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet file, gzipped or not.")],
    feed: Annotated[str | None, typer.Option(help="The feed that it belongs to; default: guessed.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Write the mappings into sources/ of the project.")] = False,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Propose mappings for a file and preview its rows (personal values masked). Nothing is written without --save.

    Exit code 4 where the columns do not tell which feed the file belongs to: name it with --feed.
    """
    from cli.drafting import draft as propose
    from cli.drafting.saving import save as write

    settings = open_project(project).settings if save or (project / SETTINGS_FILE).is_file() else None
    found = propose(file, feed=feed, settings=settings)
    if as_json:
        show_json(found)
    else:
        print(found.text())
    if not found.is_sure:
        raise typer.Exit(InputError.exit_code)
    if save:
        for path in write(found, project):
            print(f"written: {path}", file=sys.stderr)
