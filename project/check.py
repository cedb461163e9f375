"""Whether a project's tags can be meant, together with what was published and with the audiences that use them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.layering import score_id
from features.money_marks import compared_amounts, foreign
from lake import releases
from project import advice
from project.catalogue_store import remembered
from project.example import unfilled_roles
from project.folder import SETTINGS_FILE, Project
from schemas.configuration import line_of, nearest, read_yaml
from schemas.errors import ConfigurationError
from schemas.money import DEFAULT_CURRENCY, money_cell
from schemas.tag_roles import TagRole
from schemas.tag_roles import in_short as roles_in_short

if TYPE_CHECKING:
    from audiences.language import Audience
    from features.catalogue import Catalogue

EXPRESSIONS = ("when", "expression", "of", "where", "inputs")
"""Keys of tag files whose texts name tags."""


@dataclass(frozen=True)
class Use:
    """Where a tag is used: the tag, break, model or audience that does, and its place."""

    kind: str
    name: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} ({self.place})"


@dataclass(frozen=True)
class TagReport:
    """What the catalogue holds, every mistake, and what is only doubtful (``in_short``: a line for all alike).

    ``readable`` is false, and every count 0, where mistakes left no catalogue to count.
    """

    tags: int
    segmentations: int
    facts: int
    breaks: int
    models: int
    audiences: int
    mistakes: tuple[str, ...]
    warnings: tuple[str, ...]
    in_short: tuple[str, ...]
    readable: bool


def check_tags(project: Project) -> TagReport:
    """Validate the catalogue, and every audience against it; mistakes name file, line, tag and reason."""
    mistakes, removed = _unresolved(project)
    catalogue: Catalogue | None = None
    try:
        catalogue = project.catalogue
    except ConfigurationError as e:
        mistakes += str(e).splitlines()
    compiled = 0
    for line in _audience_mistakes(project, catalogue):
        if line is None:
            compiled += 1
        elif not any(f"no tag {name!r};" in line for name in removed):
            mistakes.append(line)
    warnings: list[str] = []
    in_short: list[str] = []
    if catalogue is not None:
        amounts = [*foreign_amounts(catalogue, project.currency), *bare_amounts(catalogue, project.currency)]
        warnings = [*amounts, *unfilled_roles(catalogue)]
        in_short = [*amounts, *roles_in_short(catalogue.without(TagRole))]
        if (days := _observed_days(project)) is not None:
            warnings = [*warnings, *catalogue.window_warnings(days)]
            in_short = [*in_short, *catalogue.window_summary(days)]
        from project.audience_standing import unusable_but_used

        advised = _advice_warnings(project, catalogue)
        told = [*advised, *unusable_but_used(project)]
        warnings, in_short = [*warnings, *told], [*in_short, *told]
    return TagReport(
        tags=len(catalogue.tags) if catalogue else 0,
        segmentations=len(catalogue.schemes) if catalogue else 0,
        facts=len(catalogue.facts) if catalogue else 0,
        breaks=len(catalogue.breaks) if catalogue else 0,
        models=len(catalogue.models) if catalogue else 0,
        audiences=compiled,
        mistakes=tuple(dict.fromkeys(mistakes)),
        warnings=tuple(warnings),
        in_short=tuple(in_short),
        readable=catalogue is not None,
    )


def _advice_warnings(project: Project, catalogue: Catalogue) -> list[str]:
    """What the settings' order of strategies names wrongly, with its place."""
    found = advice.order_mistakes(catalogue, project.settings.advice)
    if not found:
        return []
    path = project.folder / SETTINGS_FILE
    place = f"{path}:{line_of(read_yaml(path)[1], ('advice',))}"
    return [f"{place}: {line}" for line in found]


def foreign_amounts(catalogue: Catalogue, currency: str) -> list[str]:
    """Money thresholds that were declared for another currency than the lake's, each with its place."""
    specs = {name: b.spec for name, b in catalogue.breaks.items()}
    return [f"{catalogue.places['break', n]}: break {n!r}: {said}" for n, said in foreign(specs, currency)]


def bare_amounts(catalogue: Catalogue, currency: str) -> list[str]:
    """Tags that compare money with a number that names no currency, where the lake's is not that of the example shop."""
    if currency == DEFAULT_CURRENCY:
        return []
    found = []
    for name, expressions in catalogue.expressions.items():
        units = {n: known.unit for n, known in catalogue.scope(name).columns.items()}
        amounts = sorted({n for e in expressions for n in compared_amounts(e, units)})
        if amounts:
            said = ", ".join(money_cell(n, currency) for n in amounts)
            found.append(
                f"{catalogue.places['tag', name]}: tag {name!r} compares money with bare numbers, here {said}; if they were "
                "meant in another currency, declare them as a break with fixed numbers and a currency"
            )
    return found


def unresolved(project: Project) -> list[str]:
    """A line per tag that the latest release has and the files no more, though rules or audiences use it."""
    return _unresolved(project)[0]


def refuse_unresolved(project: Project) -> None:
    """ConfigurationError while a removed or renamed tag is still used; what a run asks first."""
    known = remembered(project.lake)
    if known is None or known.declared["tags"].keys() <= project.catalogue.tags.keys():
        return  # nothing was taken away: the files need not be read a second time
    if found := unresolved(project):
        raise ConfigurationError("\n".join(found))


def audience_uses(project: Project, name: str) -> list[Use]:
    """Audiences whose conditions or exports name the tag; those that cannot be read are left out."""
    return [u for a in _readable(project).values() for u in _uses_in_audience(a, name)]


def _unresolved(project: Project) -> tuple[list[str], list[str]]:
    """The lines, and the names of the removed tags that they are about."""
    known = remembered(project.lake)
    if known is None:
        return [], []
    files = _readable_files(project)
    declared = {n for _, content, _ in files for n in _declared_ids(content)}
    removed = [n for n in known.declared["tags"] if n not in declared]
    new = sorted(declared - set(known.declared["tags"]))
    lines, names = [], []
    for name in removed:
        uses = [*_uses_in_rules(files, name), *audience_uses(project, name)]
        if not uses:
            continue
        close = nearest(name, new) if new else ""
        renamed = f"; if it was renamed, {close}" if close.startswith("did you mean") else ""
        release = known.release
        lines.append(
            f"{uses[0].place}: tag {name!r} of release {release.number} ({release.as_of}) was removed or renamed, but is "
            f"used by {', '.join(map(str, uses))}; put it back or change what uses it first{renamed}"
        )
        names.append(name)
    return lines, names


def _readable_files(project: Project) -> list[tuple[Path, dict[str, Any], Any]]:
    found = []
    for path in project.files("tags"):
        try:
            content, node = read_yaml(path)
        except ConfigurationError:
            continue
        if isinstance(content, dict):
            found.append((path, content, node))
    return found


def _declared_ids(content: Mapping[str, Any]) -> Iterator[str]:
    for tag in content.get("tags") or ():
        if isinstance(tag, dict) and isinstance(tag.get("id"), str):
            yield tag["id"]
            if "layering" in tag:
                yield score_id(tag["id"])


def _uses_in_rules(files: list[tuple[Path, dict[str, Any], Any]], name: str) -> list[Use]:
    """Tags, breaks and models whose expressions name the tag, unless a fact or attribute bears the name as well."""
    from features.catalogue import user_attributes

    facts = {n for _, content, _ in files for n in content.get("facts") or ()}
    if name in facts or name in user_attributes():
        return []
    word = re.compile(rf"(?<![\w'])\b{re.escape(name)}\b(?!')")
    found: dict[tuple[str, str], Use] = {}
    for path, content, node in files:
        for location, text in _texts(content, ()):
            if not word.search(text):
                continue
            kind, owner = location[0].removesuffix("s"), str(location[1])
            if location[0] == "tags":
                owner = str(content["tags"][location[1]].get("id"))
            found.setdefault((kind, owner), Use(kind, owner, f"{path}:{line_of(node, location)}"))
    return list(found.values())


def _texts(value: Any, location: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text that is an expression, with where it stands."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, (*location, key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from _texts(below, (*location, i))
    elif isinstance(value, str) and any(part in EXPRESSIONS for part in location[2:]):
        yield location, value


def _uses_in_audience(audience: Audience, name: str) -> Iterator[Use]:
    def walk(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, dict):
            for key in ("tag", "by", "within"):
                if value.get(key) == name:
                    yield (*place, key)
            for key, below in value.items():
                yield from walk(below, (*place, key))
        elif isinstance(value, list):
            for i, below in enumerate(value):
                yield from walk(below, (*place, i))

    content = audience.content
    places = [p for key in ("include", "exclude") for p in walk(content.get(key), (key,))]
    columns = content.get("export", {}).get("columns", [])
    places += [("export", "columns", i) for i, column in enumerate(columns) if column == name]
    if places:
        yield Use("audience", audience.id, audience.at(places[0]))


def _readable(project: Project) -> dict[str, Audience]:
    from audiences.language import read

    found = {}
    for path in project.files("audiences"):
        try:
            one = read(path)
        except ConfigurationError:
            continue
        found[one.id] = one
    return found


def _audience_mistakes(project: Project, catalogue: Catalogue | None) -> Iterator[str | None]:
    """The mistakes of every audience; None for each that compiles."""
    from audiences.compiler import compile_audience
    from project.attributes import attributes

    try:
        known = project.audiences
    except ConfigurationError as e:
        yield from str(e).splitlines()
        known = _readable(project)
    if catalogue is None:
        return
    for audience in known.values():
        try:
            compile_audience(audience, known, attributes(catalogue), currency=project.currency)
        except ConfigurationError as e:
            yield from str(e).splitlines()
        else:
            yield None


def _observed_days(project: Project) -> int | None:
    """Days of data that the latest release could see; None without one."""
    from project.frozen import BREAKS, days_seen

    current = releases.latest(project.lake)
    if current is None or BREAKS not in current.tables:
        return None
    return days_seen(project.lake, current.tables[BREAKS])
