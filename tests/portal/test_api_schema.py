"""The API keeps what its own document promises, whatever it is asked; and a client that is made from the document fits it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from mypy import api as mypy
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from jobs.audiences.export import export
from portal.api.answers import VERSION
from portal.app import create_app
from portal.sign_in.people import person_of, row_of_login
from portal.sign_in.roles import PERMISSIONS
from portal.sign_in.tokens import add_token
from portal.state.opened import State, opened_state
from project.folder import Project
from queries.deliveries import deliveries_made
from tests.portal.conftest import ADDRESS
from tests.portal.typed_client import client_text
from tests.report.made_shop import D, MadeShop

EXAMPLES = 6
"""Requests of an operation, half of them such as it must refuse."""


@dataclass(frozen=True)
class Served:
    """A portal with a token that may do everything, and the names that are there."""

    app: FastAPI
    token: str
    document: dict[str, Any]
    known: dict[str, str]


@pytest.fixture(scope="module")
def served(shop_folder: Path, empty_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The hand-made shop with a delivery, and one with every table for what it lacks."""
    folder = tmp_path_factory.mktemp("api") / "shop"
    shutil.copytree(shop_folder, folder)
    project = Project.load(folder)
    export(project, "beijing", requested_by="test")
    state = _with_people(folder, empty_state)
    delivery = deliveries_made(project)[0]
    known = {"name": "beijing", "scheme": "aipl_stage", "uid": "1", "delivery_id": delivery.delivery_id}
    yield _served(project, state, {**known, "job_id": "0" * 32})
    state.close()


@pytest.fixture(scope="module")
def full(empty_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A shop with every table that is shown, hostile names among its words, and no behaviour."""
    shop = MadeShop(tmp_path_factory.mktemp("api") / "full")
    state = _with_people(shop.folder, empty_state)
    yield _served(shop.project, state, {"name": next(iter(shop.project.campaigns)), "scheme": "aipl_stage", "uid": "1"})
    state.close()


def _with_people(folder: Path, empty_state: Path) -> State:
    (folder / "portal").mkdir()
    shutil.copy(empty_state, folder / "portal" / "state.db")
    return opened_state(folder, Project.load(folder).settings.portal)


def _served(project: Project, state: State, known: dict[str, str]) -> Served:
    with state.reading() as session:
        row = row_of_login(session, "admin")
        assert row is not None
        admin = person_of(row)
    token, app = add_token(state, admin, "test", PERMISSIONS, days=1), create_app(project, state=state)
    with TestClient(app, ADDRESS) as client:
        return Served(app, token, client.get(f"{VERSION}/openapi.json").json(), known)


def naming(document: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    """The document with names that are there in place of any name, so that answers and not only refusals are judged."""
    found: dict[str, Any] = json.loads(json.dumps(document))
    for path in found["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in known:
                    there = known[parameter["name"]]
                    parameter["schema"] = {"enum": [int(there) if there.isdigit() and len(there) < 9 else there]}
    return found


def asked_of(served: Served, only: str = "") -> list[str]:
    """Ask every operation (whose path holds ``only``) and give what broke the document's promises."""
    schema = schemathesis.openapi.from_dict(naming(served.document, served.known))
    schema.app = served.app
    headers, broken, asked = {"Authorization": f"Bearer {served.token}"}, [], 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if only not in operation.path:
            continue
        asked += 1

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            # What a field says may be of the right type and yet mean nothing here: a tag that is none, a used-up cursor.
            case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

        try:
            ask()
        except Exception as e:
            broken.append(f"{operation.method} {operation.path}: {e}")
    assert asked
    return broken


def test_no_operation_fails_or_answers_other_than_its_schema_says(served: Served) -> None:
    assert not_a_server_error in schemathesis.checks.CHECKS.get_all()
    assert asked_of(served) == []


def test_nor_over_a_shop_that_has_every_table_and_hostile_names(full: Served) -> None:
    broken = [b for only in ("/campaigns", "/segments", "/users/{uid}") for b in asked_of(full, only)]
    assert broken == []


def test_every_operation_has_a_name_a_summary_and_the_scope_that_it_asks_for(served: Served) -> None:
    operations = [(m, p, o) for p, path in served.document["paths"].items() for m, o in path.items()]
    names = [o["operationId"] for _, _, o in operations]
    assert len(set(names)) == len(names) > 30
    for method, path, operation in operations:
        assert operation["description"], path
        assert operation["x-permission"] in PERMISSIONS, path
        assert operation["security"] == [{"token": []}]
        assert {"4XX", "5XX"} <= set(operation["responses"])
        assert "default" not in operation["responses"] and "422" not in operation["responses"], (method, path)


USE = """
from client import Client

def use(client: Client) -> None:
    page = client.list_audiences(limit=1)
    names: list[str] = [one["id"] for one in page["items"]]
    users: int | None = page["items"][0]["users"]
    counted = client.preview_definition(body={"text": client.get_audience(names[0])["text"]})
    share: float = counted["share"]
    steps: list[str] = [step["zh"] for step in counted["steps"]]
    job = client.build_audience(names[0], body={"reason": "a test"}, idempotency_key="once")
    state: str = client.get_job(job["id"])["state"]
    card = client.get_user(1)
    advice = card["advice"]
    label: str = advice["label"]["zh"] if advice is not None else ""
    print(users, share, steps, state, label)
"""
MISUSE = """
from client import Client

def misuse(client: Client) -> None:
    client.list_audiences(limit="many")
    client.get_user("somebody")
    client.preview_definition(body={"txt": ""})
    print(client.get_release()["nmber"])
    client.build_audience("beijing", body={})
"""


def test_a_client_made_from_the_document_is_typed_and_works(served: Served, tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(client_text(served.document), encoding="utf-8")
    (tmp_path / "use.py").write_text(USE, encoding="utf-8")
    (tmp_path / "misuse.py").write_text(MISUSE, encoding="utf-8")
    options = ["--strict", "--no-error-summary", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    said, _, _ = mypy.run([*options, *(str(tmp_path / n) for n in ("client.py", "use.py", "misuse.py"))])
    wrong = [line for line in said.splitlines() if ": error:" in line]
    assert [line for line in wrong if "misuse.py" not in line] == []
    lines = {int(line.split("misuse.py:")[1].split(":")[0]) for line in wrong}
    assert lines == {5, 6, 7, 8, 9}, said

    made: dict[str, Any] = {}
    exec(compile((tmp_path / "client.py").read_text(encoding="utf-8"), "client", "exec"), made)
    with TestClient(served.app, ADDRESS, headers={"Authorization": f"Bearer {served.token}"}) as transport:
        client = made["Client"](lambda m, path, query, headers, body: _sent(transport, m, path, query, headers, body))
        assert client.get_release()["as_of"] == D.isoformat()
        (beijing,) = client.list_audiences(limit=1)["items"]
        counted = client.preview_definition(body={"text": client.get_audience(beijing["id"])["text"]})
        assert counted["users"] == 3 and counted["base_users"] == 8
        job = client.build_audience("beijing", body={"reason": "a test"}, idempotency_key="once")
        assert client.get_job(job["id"])["state"] == "queued"
        assert client.get_user(1)["uid"] == 1


def _sent(transport: TestClient, method: str, path: str, query: Any, headers: Any, body: Any) -> Any:
    answer = transport.request(method, path, params=query, headers=headers, json=body)
    assert answer.is_success, answer.text
    return answer.json()
