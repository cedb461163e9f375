"""``huaxiang portal``: the web application; ``worker``: what builds and delivers for it; ``person ...``: who may sign in."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from cli.session import HERE, JsonOption, ProjectOption, open_project, show_json, show_table, verb
from project.folder import Project
from schemas.errors import HuaxiangError

if TYPE_CHECKING:
    from portal.state.opened import State

FIRST_LOGIN = "admin"
PORT = 8470
portal = typer.Typer(invoke_without_command=True)
person = typer.Typer(no_args_is_help=True)
portal.add_typer(person, name="person", help="Who may sign in to the portal.")
LoginArgument = Annotated[str, typer.Argument(help="The name that they sign in with.")]
RoleOption = Annotated[str, typer.Option("--role", help="viewer, marketer, analyst or admin.")]


@portal.callback()
@verb
def serve(
    context: typer.Context,
    project: ProjectOption = HERE,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = PORT,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Whether a worker builds and delivers beside it.")
    ] = True,
) -> None:
    """The web application: tags, segments, audiences and their deliveries, for people without a command line.

    Where nobody can sign in yet, an admin is made and their password printed, once.
    """
    if context.invoked_subcommand is not None:
        return
    _refuse_without_extra()
    import uvicorn

    from portal.app import create_app
    from portal.serving import served
    from portal.worker import start_beside

    p = open_project(project)
    state = _state(p)
    _first_person(p, state)
    address = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{port}{p.settings.portal.base_path}/"  # noqa: S104
    print(f"The portal is at {address} (Ctrl-C ends it) / 门户地址：{address}", flush=True)
    beside = start_beside(p.folder) if worker else None
    try:
        uvicorn.run(create_app(p, state=state), host=host, port=port, **served(p.settings.portal))
    finally:
        if beside is not None:
            beside.terminate()
            beside.wait()


@portal.command("worker")
@verb
def worker(project: ProjectOption = HERE) -> None:
    """What builds and delivers audiences that people ask for in the portal. Several may run, here and elsewhere."""
    p = open_project(project)
    state = _state(p)
    from portal.worker import work_off

    work_off(p, state)


@person.command("add")
@verb
def add(login: LoginArgument, role: RoleOption = "viewer", project: ProjectOption = HERE) -> None:
    """Let somebody sign in; their password is printed, once."""
    state = _state(open_project(project))
    from portal.sign_in.people import add_person
    from portal.sign_in.secrets import new_password

    password = new_password()
    made = add_person(state, login, role, password)
    print(f"{made.login} may sign in as {made.role}; the password, shown only now: {password}")


@person.command("list")
@verb
def listed(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Everybody who may sign in, or might."""
    from portal.sign_in.people import all_people

    rows = [
        {"login": r.login, "role": r.role, "by": r.origin, "active": r.is_active, "since": r.created_at}
        for r in all_people(_state(open_project(project)))
    ]
    if as_json:
        show_json(rows)
    else:
        show_table("People", rows)


@person.command("password")
@verb
def password(login: LoginArgument, project: ProjectOption = HERE) -> None:
    """A new password, printed once; whoever is signed in as them is signed out, and a lock is lifted."""
    state = _state(open_project(project))
    from portal.sign_in.people import set_password
    from portal.sign_in.secrets import new_password

    made = new_password()
    set_password(state, login, made)
    print(f"{login}: the new password, shown only now: {made}")


@person.command("role")
@verb
def role(login: LoginArgument, role: RoleOption, project: ProjectOption = HERE) -> None:
    """Another role, from their next request on."""
    from portal.sign_in.people import set_role

    set_role(_state(open_project(project)), login, role)


@person.command("stop")
@verb
def stop(login: LoginArgument, project: ProjectOption = HERE) -> None:
    """Let somebody sign in no more; what they did stays in the log."""
    from portal.sign_in.people import set_active

    set_active(_state(open_project(project)), login, active=False)


def _first_person(project: Project, state: State) -> None:
    from portal.sign_in.people import add_person, is_empty
    from portal.sign_in.secrets import new_password

    if "password" not in project.settings.portal.sign_in or not is_empty(state):
        return
    made = new_password()
    add_person(state, FIRST_LOGIN, "admin", made)
    print(f"Sign in as {FIRST_LOGIN}; the password, shown only now / 首次密码，只显示这一次: {made}", flush=True)


def _state(project: Project) -> State:
    _refuse_without_extra()
    from portal.state.opened import opened_state

    return opened_state(project.folder, project.settings.portal)


def _refuse_without_extra() -> None:
    """HuaxiangError says how to get what the portal needs beside the base installation."""
    lacking = [name for name in ("fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2") if find_spec(name) is None]
    if lacking:
        print(f"missing: {', '.join(lacking)}", file=sys.stderr)
        raise HuaxiangError("the extra portal is not installed: `make portal`, or pip install 'huaxiang[portal]'")
