"""Errors that a user can act on. Anything else that escapes is a defect of Huaxiang."""

from __future__ import annotations


class HuaxiangError(Exception):
    """A mistake in configuration, input or use; the message names place, value, expectation and remedy.

    ``exit_code`` is what the command line ends with (documented in ``huaxiang --help``).
    """

    exit_code = 1


class UsageError(HuaxiangError):
    """An option has a value that it cannot have."""

    exit_code = 2


class ConfigurationError(HuaxiangError):
    """The project folder says something that cannot be meant."""

    exit_code = 3


class InputError(HuaxiangError):
    """A delivered file cannot be taken."""

    exit_code = 4


class AuditError(HuaxiangError):
    """A check marked ``fail`` stopped a publication; what was published before stays readable."""

    exit_code = 5


class HeldError(AuditError):
    """A delivery is made from a tag that is held at older values, and nobody said that it may leave all the same."""


class QuietError(AuditError):
    """It is a quiet day or hour: nothing is delivered to people now."""


class AlertedError(AuditError):
    """An audience is empty, or far from the size that it had, and nobody said that it may leave all the same."""


class LockedError(HuaxiangError):
    """Another run holds the table."""

    exit_code = 6


class LostLeaseError(LockedError):
    """This run held the table and is not its holder any more: it was stopped or cut off for too long."""


class NotThereError(HuaxiangError):
    """What was asked for does not exist: a release, an audience, a tag, a user."""

    exit_code = 7


class UnreadableError(NotThereError):
    """A file of a release is missing or not what the table's log says."""


class OutdatedError(HuaxiangError):
    """What was asked for would put an older day in the place of a newer one."""

    exit_code = 8


class NotDueError(HuaxiangError):
    """An audience is a draft, paused, expired, or not due by its rhythm: nothing was built or delivered."""

    exit_code = 10


class StoreError(HuaxiangError):
    """An object store refuses, cannot be reached or has no such bucket."""

    exit_code = 9


class DiskFullError(HuaxiangError):
    """A disk or a quota is full. ``is_told``: the message says what is published."""

    def __init__(self, message: str, is_told: bool = False):
        super().__init__(message)
        self.is_told = is_told
