"""Step ``audience export``: a built audience as a CSV file with its manifest, contacts joined at the last moment.

Profile columns are those of the release that the audience was built from. Contacts, consent and who merged into whom
are read as they are now: a consent withdrawn after the build is respected.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audiences import delivery
from audiences.compiler import fixed_attributes
from audiences.language import Audience, Export
from audiences.operands import Attribute
from audiences.plan import Plan
from jobs.audiences.build import MEMBERSHIP, Built, builds
from jobs.audiences.outbox import FolderOutbox, Outbox, StoreOutbox
from jobs.audiences.step import build
from lake import journal
from lake.engine import Engine, Progress
from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from lake.releases import Release, release
from lake.store import scheme
from project.attributes import attributes
from project.audience import plan_of
from project.audience_file import FileRows, file_rows
from project.folder import Project
from project.held import held_in_words, marks_of, remedy, tags_of
from schemas.arrow import arrow_schema
from schemas.contracts import contract, fields
from schemas.errors import HeldError, HuaxiangError

DELIVERIES = "exports.deliveries"


@dataclass(frozen=True)
class Exported:
    """One delivery. ``left_out`` counts members of the audience that are not in the file, by reason.

    ``contacts_withheld`` counts, by kind, contacts that another refused or that stood in the file already; ``notes``
    are what who asked must know.
    """

    delivery_id: str
    audience: str
    release: int
    as_of: date
    folder: str
    file: str
    manifest: str
    rows: int
    left_out: dict[str, int]
    contacts_withheld: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    checksum: str
    already_delivered: bool
    built: Built


def export(
    project: Project,
    name: str,
    *,
    requested_by: str,
    which: int | str | None = None,
    folder: Path | None = None,
    again: bool = False,
    force: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Deliver an audience (built first if need be) and note the delivery in ``exports.deliveries``.

    The same audience, definition and release delivered before is not written a second time: what lies there is
    checked and named, unless ``again`` asks for a fresh one (contacts or consents may have changed since).
    HeldError if the audience is made from a held tag, unless ``force`` lets it leave; the manifest says so.
    """
    if not force:
        refuse_held(project, [name], which)
    audience, plan = plan_of(project, name)
    built = build(project, name, which=which, engine=engine, progress=progress)
    at = release(project.lake, built.release)
    outbox = outbox_of(project, audience.id, folder)
    with lock(project.lake, DELIVERIES, wait_seconds=60):
        journal.recover(project.lake)
        outbox.clear()
        label = f"{at.as_of}-r{at.number}-{plan.definition_hash[:8]}"
        label = _free(outbox, label) if again else label
        place = outbox.place(label)
        if outbox.is_there(label):
            manifest = outbox.manifest(label)
            _note(project.lake, manifest, place)
            return _known(manifest, place, built)
        found = file_rows(
            project.lake, audience, at, _members(project.lake, audience.id, at), project.settings.unknown_consent
        )
        headers = _headers(project, audience, found.table.column_names)
        manifest = _manifest(project, audience, plan, at, built, found, headers, requested_by)
        wanted = audience.definition.export
        table = found.table
        if wanted.money == "main":
            table = delivery.in_main_units(table, _money(project, table.column_names), project.currency)
        content = delivery.csv_bytes(table.rename_columns(list(headers.values())), wanted.format == "excel")
        outbox.deliver(label, f"{audience.id}-{at.as_of}.csv", content, manifest)
        manifest = outbox.manifest(label)
        _note(project.lake, manifest, place)
        return _known(manifest, place, built, already=False)


def outbox_of(project: Project, audience: str, folder: Path | None = None) -> Outbox:
    """Where deliveries of an audience go: a folder that was asked for, or where the project's exports are."""
    if folder is None and scheme(project.settings.exports) is not None:
        return StoreOutbox(project.store_at(project.settings.exports), audience)
    return FolderOutbox((folder or project.exports).absolute() / audience)


def refuse_held(project: Project, names: Iterable[str], which: int | str | None) -> None:
    """HeldError that names every audience made from a tag that is held at the release."""
    at = release(project.lake, which)
    known = marks_of(project.lake, project.catalogue, at)
    held = {n: known.of(tags_of(project.catalogue, *plan_of(project, n))) for n in names} if known.since else {}
    if not any(held.values()):
        return
    said = [f"audience {n!r} is made from {held_in_words(tags)}" for n, tags in held.items() if tags]
    ends = remedy(project.catalogue, {t for tags in held.values() for t in tags})
    raise HeldError(
        f"{'; '.join(said)} at release {at.number} ({at.as_of}), and nothing was delivered: such a tag keeps older "
        f"values. {ends[0].upper()}{ends[1:]}; --force delivers it as it is"
    )


def _free(outbox: Outbox, label: str) -> str:
    """The label, or the first of its numbers that is free."""
    free, number = label, 1
    while outbox.is_there(free):
        number += 1
        free = f"{label}-{number}"
    return free


def _known(manifest: Mapping[str, Any], place: str, built: Built, already: bool = True) -> Exported:
    return Exported(
        delivery_id=manifest["delivery_id"],
        audience=manifest["audience"],
        release=manifest["release"],
        as_of=date.fromisoformat(manifest["as_of"]),
        folder=place,
        file=f"{place}/{manifest['file']}",
        manifest=f"{place}/{delivery.MANIFEST}",
        rows=manifest["rows"],
        left_out=manifest["left_out"],
        contacts_withheld=manifest.get("contacts_withheld", {}),
        notes=tuple(manifest.get("notes", ())),
        checksum=manifest["checksum"],
        already_delivered=already,
        built=built,
    )


def _members(lake: Lake, audience: str, at: Release) -> pa.Array:
    """uids in order; HuaxiangError if the audience was built from another release meanwhile."""
    paths = lake.local(lake.files(MEMBERSHIP, where={"audience": audience}))
    uids = pa.concat_arrays([*_column(paths, "uid"), pa.array([], pa.int64())])
    if builds(lake, audience)[-1]["release"] != at.number:
        raise HuaxiangError(f"audience {audience!r} was built anew while it was exported; export it again")
    return uids.sort()


def _column(paths: list[str], name: str) -> list[pa.Array]:
    return [pq.ParquetFile(path).read(columns=[name])[name].combine_chunks() for path in paths]


def _money(project: Project, names: Sequence[str]) -> list[str]:
    tags = project.catalogue.tags
    return [n for n in names if n in tags and tags[n].unit == "minor"]


def _headers(project: Project, audience: Audience, names: Sequence[str]) -> dict[str, str]:
    """What the file calls each column: its name, of money with the unit."""
    unit = project.currency if audience.definition.export.money == "main" else "minor"
    return {n: n for n in names} | {n: delivery.money_header(n, unit) for n in _money(project, names)}


def _manifest(
    project: Project,
    audience: Audience,
    plan: Plan,
    at: Release,
    built: Built,
    found: FileRows,
    headers: Mapping[str, str],
    requested_by: str,
) -> dict[str, Any]:
    wanted = audience.definition.export
    held = marks_of(project.lake, project.catalogue, at).of(tags_of(project.catalogue, audience, plan))
    forced = [f"delivered by force: made from {held_in_words(held)}, that is from older values"] if held else []
    return {
        "delivery_id": uuid.uuid4().hex,
        "audience": audience.id,
        "name": audience.content["name"],
        "description": audience.content["description"],
        "owner": audience.definition.owner,
        "release": at.number,
        "as_of": at.as_of.isoformat(),
        "definition_hash": plan.definition_hash,
        "definition": audience.content,
        "refers_to": {n: project.audiences[n].content for n in audience.mentions() if n in project.audiences},
        "audience_users": built.users,
        "rows": len(found.table),
        "left_out": {reason: n for reason, n in found.left_out.items() if n},
        "contacts_withheld": found.withheld,
        "notes": [*forced, *found.notes],
        **({"held_tags": {n: day.isoformat() for n, day in held.items()}} if held else {}),
        "money": {"currency": project.currency, "unit": wanted.money},
        "columns": [_described(n, header, project, wanted) for n, header in headers.items()],
        "format": {
            "encoding": "UTF-8 with byte-order mark" if wanted.format == "excel" else "UTF-8",
            "delimiter": ",",
            "line_end": "CR LF",
            "absent": "",
            "text_mark": "one leading apostrophe keeps a cell text; take it off to get the value",
        },
        "consent": audience.definition.consent,
        "unknown_consent": project.settings.unknown_consent,
        **({"consent_reason": r} if (r := audience.definition.consent_reason) else {}),
        "requested_by": requested_by,
        "created_at": datetime.now(UTC).replace(microsecond=0).isoformat(),
    }


def _described(name: str, header: str, project: Project, wanted: Export) -> dict[str, Any]:
    """A column of the profile, with the header that the file gives it."""
    if name in wanted.contacts:
        entry = fields()[name]
        said = {"name": name, "header": header, "zh": entry.zh, "en": entry.en}
        return said | {"form": wanted.contacts[name], "personal": entry.personal}
    known: Attribute = {**fixed_attributes(), **attributes(project.catalogue)}[name]
    described = {
        "name": name,
        "header": header,
        "zh": known.name.zh,
        "en": known.name.en,
        "description": {"zh": known.description.zh, "en": known.description.en},
        "type": known.type,
    }
    if known.unit == "minor":
        return described | {"unit": project.currency if wanted.money == "main" else "minor"}
    return described | ({"unit": known.unit} if known.unit else {})


def _note(lake: Lake, manifest: Mapping[str, Any], place: str) -> None:
    """The delivery's row; one that is there already is left as it is (a run that was killed between file and row)."""
    if any(row["delivery_id"] == manifest["delivery_id"] for row in deliveries(lake)):
        return
    lake.ensure(DELIVERIES)
    path = place.removeprefix(f"{lake.address}/")
    row = {
        "delivery_id": manifest["delivery_id"],
        "audience": manifest["audience"],
        "as_of": date.fromisoformat(manifest["as_of"]),
        "release": manifest["release"],
        "definition_hash": manifest["definition_hash"],
        "path": f"{path}/{manifest['file']}",
        "columns": json.dumps([c["name"] for c in manifest["columns"]]),
        "rows": manifest["rows"],
        "checksum": manifest["checksum"].removeprefix("sha256:"),
        "requested_by": manifest["requested_by"],
        "created_at": datetime.fromisoformat(manifest["created_at"]),
    }
    run_id = f"export-{manifest['delivery_id'][:12]}-{uuid.uuid4().hex[:6]}"
    with journal.kept(lake, run_id):
        folder = lake.stage(DELIVERIES, run_id)
        pq.write_table(pa.Table.from_pylist([row], arrow_schema(contract(DELIVERIES))), folder / "delivery.parquet")
        publish(lake, DELIVERIES, folder, replace=None, read_version=None, run_id=run_id, key=f"delivery-{run_id}")


def deliveries(lake: Lake, audience: str | None = None) -> list[dict[str, Any]]:
    """Rows of ``exports.deliveries``, newest first."""
    rows = [row for path in lake.local(lake.files(DELIVERIES)) for row in pq.ParquetFile(path).read().to_pylist()]
    found = [r for r in rows if audience is None or r["audience"] == audience]
    return sorted(found, key=lambda r: r["created_at"], reverse=True)
