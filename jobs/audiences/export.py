"""Step ``audience export``: a built audience as files for a platform, with their manifest, contacts joined at the last moment.

Profile columns are those of the release that the audience was built from. Contacts, consent and who merged into whom
are read as they are now: a consent withdrawn after the build is respected.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audiences import delivery
from audiences.compiler import fixed_attributes
from audiences.funnel import funnel_of
from audiences.language import Audience, named
from audiences.operands import Attribute
from audiences.plan import Plan
from audiences.platforms import Destination, PlatformColumn
from audiences.size_alerts import SizeAlert, size_alerts
from jobs.audiences.build import MEMBERSHIP, Built
from jobs.audiences.files import WrittenFiles, as_listed, sent_file, write_delivery
from jobs.audiences.outbox import FolderOutbox, Outbox, StoreOutbox
from jobs.audiences.sent import SENT, SentChanges, changes_between
from jobs.audiences.step import build
from jobs.audiences.upload import receiver_of, send_files
from lake import journal
from lake.engine import Engine, Progress
from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from lake.releases import Release, latest, release
from lake.store import scheme
from project.attributes import attributes
from project.audience import plan_of
from project.audience_file import FileRows, digests_in_words, file_rows
from project.audience_standing import refuse_not_due, stale, used_on
from project.audience_tables import DELIVERIES, builds, deliveries
from project.folder import Project
from project.held import held_in_words, marks_of, remedy, tags_of
from project.platforms import Target, target_of
from project.suppressed import refuse_quiet
from schemas.arrow import arrow_schema
from schemas.contracts import contract, fields
from schemas.errors import AlertedError, HeldError, HuaxiangError, InputError

UPLOADS = "exports.upload-"
"""What the lock of one audience's uploads to one platform begins with."""


@dataclass(frozen=True)
class Exported:
    """One delivery. ``left_out`` counts members of the audience that are not in the files, by reason.

    ``file`` is the first of ``parts``. ``contacts_withheld`` counts, by column, contacts that another refused or that
    stood in the file already, ``rejected`` values that are no contact; ``changes`` tells of a platform that is sent
    what changed; ``uploaded`` says where the files were sent on to; ``notes`` are what who asked must know.
    """

    delivery_id: str
    audience: str
    platform: str | None
    campaign: str | None
    stage: str | None
    arm: str | None
    release: int
    as_of: date
    folder: str
    file: str
    parts: tuple[dict[str, Any], ...]
    manifest: str
    rows: int
    funnel: tuple[dict[str, Any], ...]
    left_out: dict[str, int]
    contacts_withheld: dict[str, dict[str, int]]
    rejected: dict[str, dict[str, int]]
    changes: dict[str, Any] | None
    notes: tuple[str, ...]
    checksum: str
    already_delivered: bool
    built: Built
    uploaded: dict[str, Any] | None = None


@dataclass(frozen=True)
class Portion:
    """The members of an audience who get one thing, such as an arm of a campaign.

    ``keep`` parts uids (ascending) into those who get it and how many do not, by reason of ``audiences.funnel``.
    ``campaign``, ``stage`` and ``arm`` say what it is; ``content`` what it says, for the manifest; ``mark`` differs where
    the campaign says otherwise.
    """

    campaign: str
    stage: str
    arm: str
    content: Mapping[str, Any]
    mark: str
    keep: Callable[[np.ndarray], tuple[np.ndarray, dict[str, int]]]

    @property
    def names(self) -> dict[str, str]:
        return {"campaign": self.campaign, "stage": self.stage, "arm": self.arm}


def export(
    project: Project,
    name: str,
    *,
    requested_by: str,
    to: str | None = None,
    portion: Portion | None = None,
    which: int | str | None = None,
    folder: Path | None = None,
    again: bool = False,
    full: bool = False,
    force: bool = False,
    due: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Deliver an audience (built first if need be) to a platform, and note the delivery in ``exports.deliveries``.

    ``to`` names the platform; without, the audience's own ``export:`` is written. The same audience, definition, release
    and form delivered before is not written a second time: what lies there is checked and named, unless ``again`` asks
    for a fresh one (contacts or consents may have changed since). To a platform that is sent changes, ``full`` sends
    everybody anew. HeldError if the audience is made from a held tag, AlertedError if its size says that something
    went wrong, or if it is stale, QuietError in a quiet hour, unless ``force`` lets it leave; the manifest says so. NotDueError if it is out of use,
    or, with ``due``, if it was delivered there since its rhythm asked for it.
    InputError where all values of a column are digests already. With a ``portion`` only its people leave.
    """
    if not force:
        refuse_held(project, [name], which)
    audience, plan = plan_of(project, name)
    target = target_of(project, audience, to)
    if not force:
        refuse_quiet(project, target)
    if due:
        whole = (d for d in deliveries(project.lake, audience.id) if d.get("campaign") is None)
        there = max((d["as_of"] for d in whole if d.get("platform") == _platform(target)), default=None)
        refuse_not_due(audience, release(project.lake, which).as_of, there)
    built = build(project, name, which=which, requested_by=requested_by, engine=engine, progress=progress)
    at = release(project.lake, built.release)
    alerts = alerts_of(project, audience.id, at)
    if alerts and not force:
        said = "; ".join(a.words.en for a in alerts)
        raise AlertedError(f"audience {audience.id!r} was not delivered: {said}. --force delivers it as it is")
    outbox = outbox_of(project, audience.id, folder, target.platform.to)
    receiver = receiver_of(target.platform.to, audience.id)
    with lock(project.lake, DELIVERIES, wait_seconds=60):
        journal.recover(project.lake)
        outbox.clear()
        label = _label(at, plan, target, portion)
        label = _free(outbox, label) if again or full else label
        asked = _Asked(project, audience, plan, at, built, target, portion, alerts, requested_by)
        done = _delivered(asked, outbox, label, full)
    if receiver is None:
        return done
    # Beside the lock of deliveries: an upload takes its time.
    with lock(project.lake, f"{UPLOADS}{audience.id}-{target.id}", wait_seconds=60):
        return replace(done, uploaded=send_files(outbox, label, outbox.manifest(label), receiver))


@dataclass(frozen=True)
class _Asked:
    """What is to be delivered: which people in which form, for whom; ``alerts`` are those that somebody passed over."""

    project: Project
    audience: Audience
    plan: Plan
    at: Release
    built: Built
    target: Target
    portion: Portion | None
    alerts: tuple[SizeAlert, ...]
    requested_by: str


def _delivered(asked: _Asked, outbox: Outbox, label: str, full: bool) -> Exported:
    """The delivery of that label, as it lies in the outbox or written into it now."""
    project, audience, at, target, portion = asked.project, asked.audience, asked.at, asked.target, asked.portion
    place = outbox.place(label)
    if outbox.is_there(label):
        manifest = outbox.manifest(label)
        _note(project.lake, manifest, place)
        return _known(manifest, place, asked.built)
    uids = published_members(project.lake, audience.id, at)
    kept, apart = _portioned(uids, portion)
    compares = target.platform.sends == "changes" and not full
    before = _before(project.lake, audience.id, target, outbox, portion) if compares else None
    with file_rows(project, audience, at, kept, target) as found:
        found = replace(found, members=len(uids), left_out={**apart, **found.left_out})
        if found.digests:
            raise InputError(f"{'; '.join(digests_in_words(found))}. Nothing was delivered")
        delivery_id = uuid.uuid4().hex
        with outbox.opened(label) as out:
            words = _words(audience, target, at, delivery_id, portion)
            written = _write(project, target, found, out, words, before, outbox)
            manifest = _manifest(asked, found, written, before)
            delivery.seal(out, {"delivery_id": delivery_id, **manifest})
    manifest = outbox.manifest(label)
    _note(project.lake, manifest, place)
    return _known(manifest, place, asked.built, already=False)


def _platform(target: Target) -> str | None:
    """What rows of deliveries call it: an audience's own file has no platform."""
    return None if target.is_own else target.id


def _portioned(uids: pa.Array, portion: Portion | None) -> tuple[pa.Array, dict[str, int]]:
    """The members who get it, and how many do not, by reason."""
    if portion is None:
        return uids, {}
    kept, apart = portion.keep(uids.to_numpy(zero_copy_only=False))
    return pa.array(kept, pa.int64()), apart


def _label(at: Release, plan: Plan, target: Target, portion: Portion | None) -> str:
    """What a delivery is called: the same people of the same release in the same form have the same name."""
    said = [plan.definition_hash, target.mark, *([] if portion is None else [portion.mark])]
    mark = hashlib.sha256("|".join(said).encode()).hexdigest()[:8]
    parted = "" if portion is None else "-" + "-".join(portion.names.values())
    return f"{at.as_of}-r{at.number}-{mark}" + ("" if target.is_own else f"-{target.id}") + parted


def _words(
    audience: Audience, target: Target, at: Release, delivery_id: str, portion: Portion | None
) -> dict[str, Any]:
    """What names of files and constant cells can say; arms of one audience are never called alike."""
    name = audience.definition.name
    return {
        "audience": "-".join([audience.id, *([] if portion is None else (portion.stage, portion.arm))]),
        "platform": target.id,
        "as_of": at.as_of,
        "release": at.number,
        "delivery": delivery_id[:8],
        "zh": name.zh,
        "en": name.en,
    }


def _write(
    project: Project,
    target: Target,
    found: FileRows,
    out: Path,
    words: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    outbox: Outbox,
) -> WrittenFiles:
    with ExitStack() as stack:
        changes: SentChanges | None = None
        if target.platform.sends == "changes":
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="huaxiang-")))
            was = None if before is None else outbox.local(before["path"].split("/")[-2], SENT, scratch)
            changes = changes_between(was, sent_file(out, target, found), target.columns, scratch)
        return write_delivery(out, target, found, words, project.currency, changes)


def _before(
    lake: Lake, audience: str, target: Target, outbox: Outbox, portion: Portion | None
) -> dict[str, Any] | None:
    """The last delivery of the audience to the platform; HuaxiangError where it cannot be compared with.

    An arm of a campaign is a list of its own there, whatever the stage.
    """
    mine = (None, None) if portion is None else (portion.campaign, portion.arm)
    there = (d for d in deliveries(lake, audience) if d.get("platform") == target.id)
    last = next((d for d in there if (d.get("campaign"), d.get("arm")) == mine), None)
    if last is None:
        return None
    label = last["path"].split("/")[-2]
    place = outbox.place(label).removeprefix(f"{lake.address}/")
    lies = place == last["path"].rpartition("/")[0] and outbox.is_there(label)
    if not lies or not any(f["file"] == SENT for f in delivery.listed_files(outbox.manifest(label))):
        raise HuaxiangError(
            f"platform {target.id!r} is sent what changed since the last delivery of audience {audience!r}, and that "
            f"({last['path'].rpartition('/')[0]}) is not there to compare with; --full sends everybody anew"
        )
    return last


def outbox_of(project: Project, audience: str, folder: Path | None = None, to: Destination | None = None) -> Outbox:
    """Where deliveries of an audience go: a folder that was asked for, the platform's place, or the project's exports."""
    address = project.settings.exports if to is None or to.folder is None else to.folder
    if folder is None and scheme(address) is not None:
        from lake.object_store import ObjectStore

        store = project.store_at(address)
        assert isinstance(store, ObjectStore)
        return StoreOutbox(store, audience)
    return FolderOutbox((folder or project.folder / address).absolute() / audience)


def alerts_of(project: Project, audience: str, at: Release) -> tuple[SizeAlert, ...]:
    """What its builds up to the release, and the age of it, say against delivering an audience."""
    sizes = [row["users"] for row in builds(project.lake, audience) if row["as_of"] <= at.as_of]
    found = size_alerts(sizes, project.settings.audience_sizes)
    may_be_empty = bool(named(project.audiences, audience).definition.may_be_empty)
    told = [a for a in found if not (a.kind == "empty" and may_be_empty)]
    current = latest(project.lake)
    old = None if current is None else stale(project, named(project.audiences, audience), at.as_of, current.as_of)
    return tuple(told if old is None else [*told, SizeAlert("stale", old)])


def refuse_held(project: Project, names: Iterable[str], which: int | str | None) -> None:
    """HeldError that names every audience made from a tag that is held at the release."""
    at = release(project.lake, which)
    names = used_on(project, names, at.as_of)
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
        platform=manifest["platform"],
        campaign=manifest.get("campaign"),
        stage=manifest.get("stage"),
        arm=manifest.get("arm"),
        release=manifest["release"],
        as_of=date.fromisoformat(manifest["as_of"]),
        folder=place,
        file=f"{place}/{_first(manifest)}",
        parts=tuple(manifest["files"]),
        manifest=f"{place}/{delivery.MANIFEST}",
        rows=manifest["rows"],
        funnel=tuple(manifest["funnel"]),
        left_out=manifest["left_out"],
        contacts_withheld=manifest["contacts_withheld"],
        rejected=manifest["rejected"],
        changes=manifest.get("changes"),
        notes=tuple(manifest["notes"]),
        checksum=manifest["checksum"],
        already_delivered=already,
        built=built,
    )


def _first(manifest: Mapping[str, Any]) -> str:
    """The first file; the manifest itself where nothing changed."""
    return str(next((f["file"] for f in manifest["files"]), delivery.MANIFEST))


def published_members(lake: Lake, audience: str, at: Release) -> pa.Array:
    """uids in order; HuaxiangError if the audience was built from another release meanwhile."""
    paths = lake.local(lake.files(MEMBERSHIP, where={"audience": audience}))
    uids = pa.concat_arrays([*_column(paths, "uid"), pa.array([], pa.int64())])
    if builds(lake, audience)[-1]["release"] != at.number:
        raise HuaxiangError(f"audience {audience!r} was built anew while it was exported; export it again")
    return uids.sort()


def _column(paths: list[str], name: str) -> list[pa.Array]:
    return [pq.ParquetFile(path).read(columns=[name])[name].combine_chunks() for path in paths]


def _manifest(
    asked: _Asked, found: FileRows, written: WrittenFiles, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    project, audience, plan, at, target = asked.project, asked.audience, asked.plan, asked.at, asked.target
    held = marks_of(project.lake, project.catalogue, at).of(tags_of(project.catalogue, audience, plan))
    forced = [f"delivered by force: made from {held_in_words(held)}, that is from older values"] if held else []
    forced += [f"delivered by force: {a.words.en}" for a in asked.alerts]
    left_out = {reason: n for reason, n in found.left_out.items() if n}
    platform, files = target.platform, [as_listed(p) for p in written.parts]
    least = platform.limits.least_rows
    few = (
        [f"{found.rows:,} rows, and the platform asks for {least:,} at least: it may refuse them or show nothing"]
        if least is not None and found.rows < least
        else []
    )
    changes = {"since": None if before is None else before["delivery_id"]}
    return {
        "audience": audience.id,
        "platform": _platform(target),
        "name": audience.content["name"],
        "description": audience.content["description"],
        "owner": audience.definition.owner,
        "release": at.number,
        "as_of": at.as_of.isoformat(),
        "definition_hash": plan.definition_hash,
        "definition": audience.content,
        "refers_to": {n: project.audiences[n].content for n in audience.mentions() if n in project.audiences},
        "audience_users": asked.built.users,
        "rows": sum(p.rows for p in written.parts),
        "files": files,
        "beside": written.beside,
        "checksum": delivery.checksum_of(files),
        "funnel": [asdict(s) for s in funnel_of(found.members, found.left_out, found.rows)],
        "left_out": left_out,
        "contacts_withheld": found.withheld,
        "rejected": written.rejected,
        **(
            {"changes": {"added": written.added, "removed": written.removed, **changes}}
            if written.added is not None
            else {}
        ),
        "notes": [*forced, *found.notes, *few],
        **({"held_tags": {n: day.isoformat() for n, day in held.items()}} if held else {}),
        "money": {"currency": project.currency, "unit": platform.money},
        "columns": [_described(c, h, project, target) for c, h in zip(target.columns, target.headers, strict=True)],
        "format": _format(target),
        **({} if target.is_own else {"platform_definition": platform.content}),
        "country": target.country,
        "consent": audience.definition.consent,
        "unknown_consent": project.settings.unknown_consent,
        "reach": project.settings.reach.model_dump(mode="json", exclude_none=True),
        **({"consent_reason": r} if (r := audience.definition.consent_reason) else {}),
        "requested_by": asked.requested_by,
        "created_at": datetime.now(UTC).isoformat(),
        **({} if (p := asked.portion) is None else {**p.names, "content": dict(p.content)}),
    }


def _format(target: Target) -> dict[str, Any]:
    platform = target.platform
    said: dict[str, Any] = {"form": platform.form, "pack": platform.pack, "encoding": "UTF-8"}
    if platform.form != "csv":
        return said
    return said | {
        "encoding": "UTF-8 with byte-order mark" if platform.excel else "UTF-8",
        "header": platform.header,
        "delimiter": ",",
        "line_end": "CR LF",
        "absent": "",
        "text_mark": "one leading apostrophe keeps a cell text; take it off to get the value",
    }


def _described(column: PlatformColumn, header: str, project: Project, target: Target) -> dict[str, Any]:
    """A column as the manifest tells it, with the header that the file gives it."""
    if column.value is not None:
        return {"name": header, "header": header, "value": column.value} | (
            {"when": column.when} if column.when else {}
        )
    if column.member_field is not None:
        entry = fields()[column.member_field]
        said = {"name": column.member_field, "header": header, "zh": entry.zh, "en": entry.en}
        shape = {"shape": column.shape} if column.shape else {}
        return said | {"form": column.hash, "personal": entry.personal} | shape
    known: Attribute = {**fixed_attributes(), **attributes(project.catalogue)}[str(column.profile)]
    described = {
        "name": column.profile,
        "header": header,
        "zh": known.name.zh,
        "en": known.name.en,
        "description": {"zh": known.description.zh, "en": known.description.en},
        "type": known.type,
    }
    if known.unit == "minor":
        return described | {"unit": project.currency if target.platform.money == "main" else "minor"}
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
        "platform": manifest["platform"],
        **{n: manifest.get(n) for n in ("campaign", "stage", "arm")},
        "as_of": date.fromisoformat(manifest["as_of"]),
        "release": manifest["release"],
        "definition_hash": manifest["definition_hash"],
        "path": f"{path}/{_first(manifest)}",
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
