"""The project folder: what a shop configures, read and validated once."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from audiences.reach_rules import ReachRules
from audiences.size_alerts import SizeLimits
from features.quality import QualitySettings
from features.rhythm import ArrivalSettings
from lake import denomination
from lake.addresses import open_store
from lake.audit import Auditor
from lake.disk import told_when_full
from lake.engine import Engine, Kind, open_engine
from lake.lake import Lake
from lake.retention import CareSettings
from lake.store import Store, StoreOptions, scheme
from project.inbox import FolderInbox, Inbox, StoreInbox
from project.portal_settings import PortalSettings
from schemas.configuration import Settings, Words, nearest, read_settings
from schemas.errors import AuditError, ConfigurationError
from schemas.money import DEFAULT_CURRENCY

if TYPE_CHECKING:
    from audiences.language import Audience
    from audiences.platforms import PlatformFile
    from campaigns.language import Campaign
    from features.catalogue import Catalogue
    from features.sources import Mapping

SETTINGS_FILE = "huaxiang.yaml"
OnRefused = Literal["warn", "stop"]
"""What a run does while files are refused."""
M = TypeVar("M", bound=Settings)
UnknownConsent = Literal["refuse", "allow"]
"""What a member record counts as that says nothing of consent."""


class Secrets(Settings):
    """Names of the environment variables that hold secrets."""

    id_salt: str = "HUAXIANG_ID_SALT"


class StoreSettings(Settings):
    """How an object store is reached where the environment does not say it, and how its lake is held and cached.

    Keys and tokens are never said here: they are the environment's, or the machine's role.
    """

    endpoint: str | None = None
    region: str | None = None
    cache: str | None = None
    cache_gb: float = Field(default=20.0, gt=0)
    lease_seconds: float = Field(default=60.0, ge=1)
    clock_skew_seconds: float = Field(default=90.0, ge=0)


class ProjectSettings(Settings):
    """``huaxiang.yaml``. Paths are relative to the project folder; lake, inbox and exports may be stores' addresses."""

    name: Words = Words(zh="未命名", en="Unnamed")
    lake: str = "lake"
    inbox: str = "inbox"
    exports: str = "exports"
    store: StoreSettings = StoreSettings()
    engine: Kind = "embedded"
    spark: str = "local"
    cores: int | None = Field(default=None, ge=1)
    memory_gb: float | None = Field(default=None, gt=0)
    time_zone: str = "Asia/Shanghai"
    currency: str = Field(default=DEFAULT_CURRENCY, pattern="^[A-Z]{3}$")
    default_country: str = Field(default="CN", pattern="^[A-Z]{2}$")
    guest_ids: tuple[str, ...] = ("", "0", "null", "none", "nan", "-", "test", "unknown", "undefined")
    members_per_person: int = Field(default=5, ge=1)
    secrets: Secrets = Secrets()
    keep_days: int = Field(default=35, ge=2)
    keep_audits: int = Field(default=10, ge=1)
    quality: QualitySettings = QualitySettings()
    declared_valid_days: int = Field(default=365, ge=1)
    on_refused: OnRefused = "warn"
    arrivals: ArrivalSettings = ArrivalSettings()
    unknown_consent: UnknownConsent = "refuse"
    care: CareSettings = CareSettings()
    preview_gb: float = Field(default=4.0, gt=0)
    advice: tuple[str, ...] = ()
    audience_sizes: SizeLimits = SizeLimits()
    audience_stale_days: int | None = Field(default=7, ge=0)
    reach: ReachRules = ReachRules()
    portal: PortalSettings = PortalSettings()

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"unknown time zone {zone!r}; {nearest(zone, sorted(available_timezones()))}")
        return zone


@dataclass(frozen=True)
class Project:
    """A loaded project folder. Sources, tags and audiences are read when they are first asked for."""

    folder: Path
    settings: ProjectSettings

    @classmethod
    def load(cls, folder: Path) -> Project:
        """ConfigurationError names file and line of every mistake."""
        path = folder / SETTINGS_FILE
        if not path.is_file():
            raise ConfigurationError(
                f"{folder} is no project folder: {SETTINGS_FILE} is not there; "
                f"make one with `huaxiang init {folder}` or name yours with --project"
            )
        return cls(folder.absolute(), read_settings(path, ProjectSettings))

    @property
    def zone(self) -> str:
        return self.settings.time_zone

    @property
    def currency(self) -> str:
        return self.settings.currency

    @property
    def guest_ids(self) -> tuple[str, ...]:
        return self.settings.guest_ids

    @cached_property
    def lake(self) -> Lake:
        """ConfigurationError where the lake is kept in another time zone or currency than the settings say."""
        found = Lake(self.store_at(self.settings.lake), self.zone)
        denomination.refuse_other(found, self.currency)
        return found

    def store_at(self, address: str) -> Store:
        """The store at an address of the settings: below the project folder, or an object store."""
        if scheme(address) is None:
            return open_store(self.folder / address)
        return open_store(address, StoreOptions(**self.settings.store.model_dump()))

    def over(self, lake: Lake) -> Project:
        """The same project over a view of its lake, such as one at fixed versions; what was read once stays read."""
        found = copy(self)
        found.__dict__["lake"] = lake
        return found

    @property
    def inbox(self) -> Path:
        """The folder that files wait in; ConfigurationError where they wait on an object store."""
        if scheme(self.settings.inbox) is not None:
            raise ConfigurationError(f"the inbox is {self.settings.inbox}, and this needs one that is a folder")
        return self.folder / self.settings.inbox

    @cached_property
    def waiting(self) -> Inbox:
        """The inbox, wherever it is."""
        if scheme(self.settings.inbox) is None:
            return FolderInbox(self.inbox)
        from lake.object_store import ObjectStore

        store = self.store_at(self.settings.inbox)
        assert isinstance(store, ObjectStore)
        return StoreInbox(store)

    @property
    def exports(self) -> Path:
        """The folder that files leave from; ConfigurationError where they leave by an object store."""
        if scheme(self.settings.exports) is not None:
            raise ConfigurationError(
                f"exports are {self.settings.exports}, and this writes to a folder: name it (--out)"
            )
        return self.folder / self.settings.exports

    @property
    def zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def files(self, kind: str) -> list[Path]:
        """The YAML files of one kind (``project.setup.PARTS``), in order of name."""
        return sorted((self.folder / kind).glob("*.yaml"))

    def method(self, name: str, kind: type[M]) -> M:
        """Thresholds of one method (``methods/NAME.yaml``); its defaults where the project has no such file."""
        path = self.folder / "methods" / f"{name}.yaml"
        return read_settings(path, kind) if path.is_file() else kind()

    @cached_property
    def sources(self) -> list[Mapping]:
        from project.loading import load_mappings

        return load_mappings(self.files("sources"))

    @cached_property
    def catalogue(self) -> Catalogue:
        from project.loading import load_catalogue

        return load_catalogue(self.files("tags"), self.currency)

    @cached_property
    def audiences(self) -> dict[str, Audience]:
        from audiences.language import read_folder

        return read_folder(self.folder / "audiences")

    @cached_property
    def platforms(self) -> dict[str, PlatformFile]:
        from audiences.platforms import read_platforms

        return read_platforms(self.files("platforms"))

    @cached_property
    def campaigns(self) -> dict[str, Campaign]:
        from campaigns.language import read_campaigns

        return read_campaigns(self.files("campaigns"))

    def open_engine(self, kind: Kind | None = None) -> Engine:
        s = self.settings
        return open_engine(kind or s.engine, where=s.spark, cores=s.cores, memory_gb=s.memory_gb, store=self.lake.store)

    @contextmanager
    def audited(self, engine: Engine) -> Iterator[Auditor]:
        """The auditor of one process; its Data Docs are written when the block ends, also after a failure."""
        auditor = Auditor(engine, self.lake, self.lake.store.path("ops/audits"), self.settings.keep_audits)
        with told_when_full(self.lake):
            try:
                yield auditor
            finally:
                _write_docs(auditor)

    def id_salt(self) -> str:
        """What salts ``user_id``: the secret named in the settings, or one made once for this lake."""
        return salt_of(self.lake, self.settings.secrets.id_salt)


def _write_docs(auditor: Auditor) -> None:
    """What was judged stands and is said whether its pages can be written or not."""
    try:
        told = auditor.write_docs()
    except OSError as e:
        told = [e.strerror or str(e)]
    except AuditError as e:
        told = [str(e)]
    if told:
        print(f"huaxiang: pages of the audit could not be written to {auditor.docs}: {told[-1]}", file=sys.stderr)


def salt_of(lake: Lake, secret: str) -> str:
    """The salt in the environment variable ``secret``, or the lake's own, made on first use.

    ConfigurationError where it is not the one that the lake began with: ids and hashed keys would match no more.
    """
    store, given = lake.store, os.environ.get(secret)
    if not given and not store.is_there(SALT):
        if store.is_there(SALT_MARK):
            raise ConfigurationError(f"this lake began with the salt in {secret}, which is not set: set it again")
        store.create(SALT, secrets.token_hex(32).encode(), private=True)
    salt = given or _text(store, SALT)
    known_by = hashlib.sha256(salt.encode()).hexdigest()[:16]
    if not store.is_there(SALT_MARK):
        store.create(SALT_MARK, known_by.encode(), private=True)
    if _text(store, SALT_MARK) != known_by:
        remedy = "unset it" if store.is_there(SALT) else "give it the value it had"
        raise ConfigurationError(f"the salt in {secret} is not the one that this lake began with: {remedy}")
    return salt


SALT, SALT_MARK = "identity/_salt", "identity/_salt_mark"


def _text(store: Store, name: str) -> str:
    found = store.read(name)
    assert found is not None, name
    return found.decode("ascii")
