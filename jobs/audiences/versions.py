"""Versions of audiences: the file in git is the truth, and every definition that was built is kept beside it.

A version is noted when an audience is first built from a definition, its own or one that it refers to, that differs from
the last one noted. Whoever goes back to an older definition makes a new version of it.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from audiences.language import Audience, definition_hash, named
from lake import journal
from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from project.audience_tables import DEFINITIONS, AudienceVersion, definitions_of
from project.folder import Project
from schemas.arrow import arrow_schema
from schemas.contracts import contract


def note_version(project: Project, name: str, requested_by: str, reason: str = "") -> AudienceVersion:
    """The version of the definition as it is now; noted as a new one where it is not that of the last one."""
    lake, audience = project.lake, named(project.audiences, name)
    now = definition_hash(audience, project.audiences)
    with lock(lake, DEFINITIONS, wait_seconds=60):
        before = definitions_of(lake, name)
        if before and before[-1].definition_hash == now:
            return before[-1]
        journal.recover(lake)
        lake.ensure(DEFINITIONS)
        made = AudienceVersion(
            audience=name,
            version=len(before) + 1,
            definition_hash=now,
            definitions={one.id: one.content for one in _with_referred(project, audience)},
            requested_by=requested_by,
            reason=reason.strip() or None,
            created_at=datetime.now(UTC).replace(microsecond=0),
        )
        _publish(lake, made)
    return made


def _with_referred(project: Project, audience: Audience) -> list[Audience]:
    """The audience and all that it refers to, directly or through another."""
    found, todo = {audience.id: audience}, list(audience.mentions())
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = named(project.audiences, name)
            todo.extend(found[name].mentions())
    return list(found.values())


def _publish(lake: Lake, made: AudienceVersion) -> None:
    row = {
        "audience": made.audience,
        "version": made.version,
        "definition_hash": made.definition_hash,
        "definition": json.dumps(made.definitions, ensure_ascii=False, sort_keys=True),
        "requested_by": made.requested_by,
        "reason_given": made.reason,
        "created_at": made.created_at,
    }
    run_id = f"version-{made.audience}-{uuid.uuid4().hex[:10]}"
    with journal.kept(lake, run_id):
        folder = lake.stage(DEFINITIONS, run_id)
        table = pa.Table.from_pylist([row], arrow_schema(contract(DEFINITIONS)))
        pq.write_table(table, folder / "version.parquet")
        publish(lake, DEFINITIONS, folder, replace=None, read_version=None, run_id=run_id, key=run_id)
