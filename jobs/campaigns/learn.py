"""Step ``campaign learn``: which values of which tags the campaign moved more than it moved everybody.

Tags are those that people had on the day of their assignment, so nothing that the campaign did is taken for what it found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from campaigns.language import ABOVE, HELD_OUT, Campaign, CampaignSettings, Outcome
from campaigns.learning import (
    PairLift,
    PairTable,
    ValueLift,
    cells_of,
    corrected,
    learnt,
    pair_lifts,
    pair_table,
    tags_to_pair,
)
from campaigns.lift import NOBODY, Moments, moments
from campaigns.verdict import SAMPLE_RATIO_P
from features.instants import day_number
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.columns import run_on_buckets
from jobs.campaigns.assign import ACTIVITY, as_list, write_rows
from jobs.campaigns.assigned import (
    ASSIGNMENTS,
    ArmHolders,
    Inputs,
    assigned_inputs,
    given_of,
    people_of,
    sample_ratio_of,
)
from jobs.campaigns.outcomes import after, counts_over, outcome_spans, outcomes_in
from lake import journal
from lake.engine import Engine, Progress
from lake.folder_store import put_if_absent
from lake.lake import by_bucket
from lake.locks import lock
from lake.publish import publish
from lake.releases import Release, lake_at, release, releases
from project.audience import PROFILE
from project.campaign import campaign_of
from project.folder import Project
from schemas.errors import NotThereError
from schemas.money import money_text

LEARNT, LEARNT_PAIRS = "campaigns.learnt", "campaigns.learnt_pairs"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Lesson:
    """What was learnt as of a release: every value that was looked at, the surest first; money in minor units.

    ``without_tags`` are people whose tags of the day of their assignment are not kept any more; they were not looked at.
    ``paired_tags`` were looked at in ``pairs`` of values as well; of ``unpaired_tags`` more, each value alone.
    """

    campaign: str
    release: int
    as_of: date
    outcome: Outcome
    own_lift: float | None
    users: int
    without_tags: int
    values: tuple[ValueLift, ...]
    pairs: tuple[PairLift, ...]
    paired_tags: tuple[str, ...]
    unpaired_tags: int
    proposal: Path | None
    warnings: tuple[str, ...]

    @property
    def found(self) -> tuple[ValueLift, ...]:
        """The values whose lift is above the campaign's own."""
        return tuple(v for v in self.values if v.is_found)

    @property
    def found_pairs(self) -> tuple[PairLift, ...]:
        """The pairs of values whose lift is above what the two add up to, and above the campaign's own."""
        return tuple(v for v in self.pairs if v.is_found)


def learn(
    project: Project,
    name: str,
    *,
    which: int | str | None = None,
    save: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Lesson:
    """Look at every value and at pairs, publish what was seen, and with ``save`` propose who has what was found as an audience.

    The audience is written as ``audiences/learnt_CAMPAIGN.yaml`` where none is there; what is there is the shop's own.
    """
    lake, campaign = project.lake, campaign_of(project, name)
    at = release(lake, which)
    with lock(lake, LEARNT, wait_seconds=60):
        journal.recover(lake)
        run_id = journal.new_run_id(f"learn-{campaign.id}", at.as_of)
        with journal.kept(lake, run_id):
            found = _Looking(project, campaign, at, run_id).made(engine, progress)
    if not save or not (found.found or found.found_pairs):
        return found
    return replace(found, proposal=_proposed(project, campaign, found))


class _Looking:
    """One run over one release, under the table's lock."""

    def __init__(self, project: Project, campaign: Campaign, at: Release, run_id: str):
        self.project, self.campaign, self.at, self.run_id = project, campaign, at, run_id
        self.lake, self.d = project.lake, campaign.definition
        self.settings = project.method("campaigns", CampaignSettings)

    def made(self, engine: Engine | None, progress: Progress | None) -> Lesson:
        items = self.items()
        found = run_on_buckets(self.lake, "jobs.campaigns.learn:value_moments_of_bucket", items, engine, progress)
        whole = [NOBODY, NOBODY]
        tags: dict[str, dict[str, tuple[Moments, Moments]]] = {}
        for one in found:
            for i, numbers in enumerate(one["whole"]):
                whole[i] += Moments(*numbers)
            for tag, values in one["tags"].items():
                mine = tags.setdefault(tag, {})
                for value, (held, treated) in values.items():
                    h, t = mine.get(value, (NOBODY, NOBODY))
                    mine[value] = h + Moments(*held), t + Moments(*treated)
        without = sum(one["without"] for one in found)
        users = sum(m.users for m in whole)
        if not users + without:
            raise NotThereError(
                f"nobody was assigned to campaign {self.campaign.id!r} by {self.at.as_of}; "
                f"`huaxiang campaign assign {self.campaign.id}` comes first"
            )
        s = self.settings
        cells = [c for tag in sorted(tags) for c in cells_of(tag, tags[tag], s.most_values)]
        values = learnt(cells, *whole, false_share=s.false_share, least_users=s.least_value_users)
        held, treated = whole
        paired = tags_to_pair(values, s.most_pairs)
        tables = self.pair_tables(items, paired, values, engine, progress)
        pairs = pair_lifts(tables, least_users=s.least_value_users)
        if values:
            values, pairs = corrected(values, pairs, treated.mean - held.mean, s.false_share)
        warnings = []
        given: Counter[tuple[str, str]] = Counter()
        for one in found:
            given.update({(h, arm): n for h, arm, n in one["given"]})
        ratio_p = sample_ratio_of(self.lake, self.campaign.id, given)
        if ratio_p is not None and ratio_p < SAMPLE_RATIO_P:
            values = [replace(v, is_found=False) for v in values]
            pairs = [replace(v, is_found=False) for v in pairs]
            warnings.append(
                f"the arms do not have the users that their weights say (p {ratio_p:.2g}); nothing is found"
            )
        over_on = max(self.days()) + timedelta(self.d.window_days)
        if over_on > self.at.as_of:
            warnings.append(f"the last window ends on {over_on}, after {self.at.as_of}: this is what was seen so far")
        for table, rows in ((LEARNT, values), (LEARNT_PAIRS, pairs)):
            self.publish(table, rows)
        if without:
            warnings.append(f"{without} people have no tags of the day of their assignment any more; they are left out")
        if not values:
            warnings.append(
                f"no value has {s.least_value_users} users held out and as many who got something, in and outside of it"
            )
        return Lesson(
            campaign=self.campaign.id,
            release=self.at.number,
            as_of=self.at.as_of,
            outcome=self.d.outcome,
            own_lift=treated.mean - held.mean if held.users and treated.users else None,
            users=users,
            without_tags=without,
            values=tuple(values),
            pairs=tuple(pairs),
            paired_tags=paired if len(paired) > 1 else (),
            unpaired_tags=len({v.tag for v in values}) - (len(paired) if len(paired) > 1 else 0),
            proposal=None,
            warnings=tuple(warnings),
        )

    def items(self) -> list[Inputs]:
        names = [n for n, t in self.project.catalogue.tags.items() if t.type in ("string", "bool")]
        profiles = {day: by_bucket(files) for day, files in self.profiles().items()}
        activity = by_bucket(lake_at(self.lake, self.at).files(ACTIVITY))
        shared = {
            "as_of": self.at.as_of.isoformat(),
            "window": self.d.window_days,
            "outcome": self.d.outcome,
            "tags": names,
            "most": self.settings.most_values,
        }
        inputs = assigned_inputs(self.lake, self.at, self.campaign.id, journal.scratch(self.lake, self.run_id))
        return [
            {
                **item,
                **shared,
                "activity": activity.get(b, []),
                "profiles": {day.isoformat(): files[b] for day, files in profiles.items() if b in files},
            }
            for b, item in inputs.items()
        ]

    def days(self) -> list[date]:
        """Days of assignments up to the release's."""
        files = self.lake.files(ASSIGNMENTS, where={"campaign": self.campaign.id})
        return [d for f in files if (d := f.partition["as_of"]) <= self.at.as_of]

    def profiles(self) -> dict[date, list[Any]]:
        """Files of the profile of every day of an assignment, at the release that people were assigned from."""
        there = {r.number: r for r in releases(self.lake)}
        found: dict[date, list[Any]] = {}
        files = self.lake.files(ASSIGNMENTS, where={"campaign": self.campaign.id})
        for f, path in zip(files, self.lake.local(files), strict=True):
            day = f.partition["as_of"]
            numbers = pq.ParquetFile(path).read(["release"])["release"]
            at = there.get(pc.max(numbers).as_py())
            if day not in found and at is not None:
                found[day] = lake_at(self.lake, at).files(PROFILE, where={"as_of": day})
        return found

    def pair_tables(
        self,
        items: Sequence[Inputs],
        tags: Sequence[str],
        values: Sequence[ValueLift],
        engine: Engine | None,
        progress: Progress | None,
    ) -> list[PairTable]:
        """Sums of every two of the tags, by the values that were looked at; a second reading, for only now it is known of which."""
        named = {t: sorted(v.value for v in values if v.tag == t) for t in sorted(tags)}
        pairs = list(combinations(named, 2))
        if not pairs:
            return []
        asked = [{**item, "tags": list(named), "values": named} for item in items]
        sums = [
            np.zeros((3, len(named[a]), len(named[b]), 2)) for a, b in pairs
        ]  # users, total, squares by value, value and arm
        for one in run_on_buckets(self.lake, "jobs.campaigns.learn:pair_sums_of_bucket", asked, engine, progress):
            for mine, found in zip(sums, one, strict=True):
                mine += np.asarray(found)
        return [
            PairTable((a, b), (tuple(named[a]), tuple(named[b])), mine)
            for (a, b), mine in zip(pairs, sums, strict=True)
        ]

    def publish(self, table: str, found: Sequence[ValueLift] | Sequence[PairLift]) -> None:
        self.lake.ensure(table)
        version, slice_ = self.lake.version(table), {"campaign": self.campaign.id, "as_of": self.at.as_of}
        folder = self.lake.stage(table, self.run_id)
        rows = [{"release": self.at.number, "outcome": self.d.outcome, **asdict(v)} for v in found]
        write_rows(table, rows, folder, slice_, "rows")
        publish(
            self.lake,
            table,
            folder,
            replace=[slice_],
            read_version=version,
            run_id=self.run_id,
            key=f"{table}-{self.run_id}",
        )


@dataclass(frozen=True)
class _Seen:
    """People of one bucket and one day of assignment whose tags are there; ``without`` are those whose tags are not."""

    tags: pa.Table
    outcome: np.ndarray
    is_held: np.ndarray
    without: int


def value_moments_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: moments of the outcome by value of every tag, held out and given something, of one bucket.

    Whose tags lie in another bucket, since they were merged into somebody of this one, are counted as without tags.
    """
    people = people_of(item)
    without, whole = 0, [NOBODY, NOBODY]
    tags: dict[str, dict[str, list[Moments]]] = {}
    for seen in _seen(item, people):
        without += seen.without
        for i, those in enumerate((seen.is_held, ~seen.is_held)):
            whole[i] += moments(seen.outcome[those])
        for name in seen.tags.column_names[1:]:
            _add(tags.setdefault(name, {}), seen.tags[name], seen.outcome, seen.is_held, item["most"])
    return {
        "whole": [as_list(m) for m in whole],
        "without": without,
        "given": given_of(people),
        "tags": {t: {v: [as_list(m) for m in pair] for v, pair in values.items()} for t, values in tags.items()},
    }


def pair_sums_of_bucket(item: Inputs) -> list[Any]:
    """Task: of every two tags of ``values`` users, total and squares of the outcome by value, value and arm, of one bucket."""
    named: dict[str, list[str]] = item["values"]
    pairs = list(combinations(named, 2))
    found = [np.zeros((3, len(named[a]), len(named[b]), 2)) for a, b in pairs]
    for seen in _seen(item, people_of(item)):
        codes = {t: _codes(seen.tags, t, values) for t, values in named.items()}
        for mine, (a, b) in zip(found, pairs, strict=True):
            values = (tuple(named[a]), tuple(named[b]))
            mine += pair_table((a, b), values, (codes[a], codes[b]), seen.outcome, seen.is_held).sums
    return [mine.tolist() for mine in found]


def _seen(item: Inputs, people: ArmHolders) -> Iterator[_Seen]:
    base = item["bucket"] * USERS_PER_BUCKET
    arm = people.texts("arm") if len(people.uid) else np.empty(0, object)
    counts = arm != ABOVE
    for text in sorted({*item["profiles"]} | {day for day, _ in item["assigned"]}):
        day = date.fromisoformat(text)
        mine = np.flatnonzero(counts & (people.days == day_number(day))) if len(people.uid) else np.empty(0, np.int64)
        if not len(mine):
            continue
        table = _profile(item["profiles"].get(text, []), item["tags"])
        asked = people.rows["uid"].to_numpy()[mine]
        there = np.isin(asked, table["uid"].to_numpy())
        mine, asked = mine[there], asked[there]
        rows = table.take(pa.array(np.searchsorted(table["uid"].to_numpy(), asked)))
        window = after(day, item["window"])
        found = counts_over(item["activity"], item["bucket"], outcome_spans(window), date.fromisoformat(item["as_of"]))
        y = outcomes_in(found, window, people.uid[mine] - base)[item["outcome"]].astype(np.float64)
        yield _Seen(rows, y, arm[mine] == HELD_OUT, int((~there).sum()))


def _codes(tags: pa.Table, name: str, values: Sequence[str]) -> np.ndarray:
    """Places among the values, -1 of who has none of them."""
    if name not in tags.column_names:
        return np.full(len(tags), -1, np.int64)
    found = pc.index_in(tags[name].cast(pa.string()), value_set=pa.array(values, pa.string()))
    return np.asarray(pc.fill_null(found, -1).combine_chunks().to_numpy(), np.int64)


def _profile(paths: Sequence[str], tags: Sequence[str]) -> pa.Table:
    """uid and the tags that the files have, in order of uid."""
    parts = []
    for path in paths:
        file = pq.ParquetFile(path)
        parts.append(file.read(["uid", *(t for t in tags if t in file.schema_arrow.names)]))
    empty = pa.table({"uid": pa.array([], pa.int64())})
    return pa.concat_tables([empty, *parts], promote_options="default").sort_by("uid").combine_chunks()


def _add(
    values: dict[str, list[Moments]], column: pa.ChunkedArray, y: np.ndarray, is_held: np.ndarray, most: int
) -> None:
    """The users by value, held out and not; a value that is unknown is none, and a tag of too many values stays as it is."""
    texts = column.cast(pa.string()).combine_chunks().dictionary_encode()
    names = texts.dictionary.to_pylist()
    if len(names) > 2 * most:
        # More than the most: the driver leaves the tag out, and one name more than that is enough to tell it.
        names = names[: most + 2]
    code = np.asarray(pc.fill_null(texts.indices, -1).to_numpy(), np.int64)
    for i, name in enumerate(names):
        if name == UNKNOWN:
            continue
        pair = values.setdefault(name, [NOBODY, NOBODY])
        of_value = code == i
        pair[0] += moments(y[of_value & is_held])
        pair[1] += moments(y[of_value & ~is_held])


def _proposed(project: Project, campaign: Campaign, found: Lesson) -> Path:
    """Who has one of the values, or both of a pair, that were found, as an audience of the project."""
    path = project.folder / "audiences" / f"learnt_{campaign.id}.yaml"
    booleans = {n for n, t in project.catalogue.tags.items() if t.type == "bool"}

    def shown(number: float) -> str:
        return money_text(number, project.currency) if found.outcome == "net_amount" else f"{number:.4f}"

    def value_of(tag: str, value: str) -> str:
        return value if tag in booleans else _quoted(value)

    by_tag: dict[str, list[ValueLift]] = {}
    for v in found.found:
        by_tag.setdefault(v.tag, []).append(v)
    lines = []
    for tag, values in by_tag.items():
        for v in values:
            lines.append(
                f"    # {tag} {v.value}: expected lift {shown(v.shrunk_lift)} a user (95 %: {shown(v.shrunk_low)} to "
                f"{shown(v.shrunk_high)}), q {v.q_value:.3g}"
            )
        said = ", ".join(value_of(tag, v.value) for v in values)
        lines.append(f"    - {{tag: {tag}, is: [{said}]}}")
    for pair in found.found_pairs:
        lines += [
            f"    # together: lift {shown(pair.difference)} a user, {shown(pair.interaction)} beyond what the two add up to "
            f"(drawn towards none: {shown(pair.shrunk_interaction)}), q {pair.q_value:.3g}",
            f"    - all: [{{tag: {pair.tag}, is: [{value_of(pair.tag, pair.value)}]}}, "
            f"{{tag: {pair.other_tag}, is: [{value_of(pair.other_tag, pair.other_value)}]}}]",
        ]
    columns = dict.fromkeys((*by_tag, *(t for p in found.found_pairs for t in (p.tag, p.other_tag))))
    zh, en = campaign.definition.name.zh, campaign.definition.name.en
    own = "-" if found.own_lift is None else shown(found.own_lift)
    body = "\n".join(lines)
    text = f"""# Proposed by `huaxiang campaign learn {campaign.id}` as of {found.as_of}: values whose {found.outcome} the campaign moved more than
# it moved everybody (its own lift: {own} a user). Change it as you like; it is not written again.
name: {{zh: {_quoted(zh + "：提升更高的人群")}, en: {_quoted(en + ": those it moved most")}}}
description:
  zh: {_quoted(f"活动“{zh}”对这些标签值的提升高于整体。")}
  en: {_quoted(f"Values of tags for which the lift of {en} was above its own.")}
owner: {_quoted(campaign.definition.owner)}
include:
  any:
{body}
export:
  columns: [user_id, {", ".join(columns)}]
"""
    path.parent.mkdir(exist_ok=True)
    put_if_absent(path, text)
    return path


def _quoted(text: str) -> str:
    """A YAML scalar that is a text whatever it looks like."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
