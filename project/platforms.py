"""Where an audience is delivered to: a platform of the project with its columns resolved, or the audience's own export."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiences.compiler import fixed_attributes
from audiences.delivery import money_header
from audiences.language import Audience
from audiences.platforms import (
    OWN,
    Platform,
    PlatformColumn,
    PlatformFile,
    header_of,
    own_export,
    platform_named,
    read_platform,
    resolved,
)
from project.attributes import attributes
from project.folder import Project
from schemas.configuration import nearest
from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from features.catalogue import Catalogue


@dataclass(frozen=True)
class Target:
    """One audience at one platform: what stands in each column, and what the file calls it.

    ``money`` are columns of the profile that hold it; ``country`` is that of numbers that say none.
    """

    id: str
    platform: Platform
    columns: tuple[PlatformColumn, ...]
    headers: tuple[str, ...]
    money: tuple[str, ...]
    country: str

    @property
    def is_own(self) -> bool:
        return self.id == OWN

    @property
    def mark(self) -> str:
        """SentChanges with whatever changes the files of the same people."""
        said = "|".join([self.platform.mark, self.country, *self.headers])
        return hashlib.sha256(said.encode()).hexdigest()


def target_of(project: Project, audience: Audience, name: str | None = None) -> Target:
    """The audience at the platform of that name, or its own export.

    ConfigurationError where a platform names a column that the profile does not have, or two columns are called alike.
    """
    own = audience.definition.export
    if name is None:
        platform, where = own_export(audience.definition.name, own), audience.at(("export",))
    else:
        file = platform_named(project.platforms, name)
        if problems := list(_unknown_columns(file, project.catalogue)):
            raise ConfigurationError("\n".join(problems))
        platform, where = file.platform, file.at(("columns",))
    columns = resolved(platform, own)
    tags = project.catalogue.tags
    money = tuple(c.profile for c in columns if c.profile in tags and tags[c.profile].unit == "minor")
    unit = project.currency if platform.money == "main" else "minor"
    headers = tuple(
        money_header(c.profile, unit) if c.profile in money and c.header is None else str(header_of(c)) for c in columns
    )
    for header in headers:
        if headers.count(header) > 1:
            raise ConfigurationError(
                f"{where}: two columns are called {header!r} in a file of audience {audience.id!r}; give one a header"
            )
    country = platform.country or project.settings.default_country
    return Target(name or OWN, platform, columns, headers, tuple(m for m in money if m), country)


def platform_mistakes(project: Project) -> Iterator[str | None]:
    """The mistakes of every platform; None for each that has none. Without a catalogue its columns are not judged."""
    catalogue: Catalogue | None = None
    with suppress(ConfigurationError):
        catalogue = project.catalogue
    for path in project.files("platforms"):
        try:
            file = read_platform(path)
        except ConfigurationError as e:
            yield from str(e).splitlines()
            continue
        problems = [] if catalogue is None else list(_unknown_columns(file, catalogue))
        if problems:
            yield from problems
        else:
            yield None


def _unknown_columns(file: PlatformFile, catalogue: Catalogue) -> Iterator[str]:
    known = {**fixed_attributes(), **attributes(catalogue)}
    for name, number in file.profile_columns.items():
        if name not in known:
            where = file.at(("columns", number, "profile"))
            yield f"{where}: the profile has no column {name!r}; {nearest(name, list(known))}"
