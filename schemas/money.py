"""Money between its two forms: whole minor units inside, decimals of the lake's currency where people read and write it."""

from __future__ import annotations

from decimal import Decimal

MINOR_DIGITS: dict[str, int] = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "KWD": 3, "BHD": 3, "JOD": 3, "TND": 3}
"""Decimals of a currency where they are not two (ISO 4217)."""


def minor_digits(currency: str) -> int:
    """Decimals of a currency: how many minor units, as a power of ten, make one major unit."""
    return MINOR_DIGITS.get(currency, 2)


def major(minor: float, currency: str) -> Decimal:
    """Minor units, whole or a mean of them, in major units: 1234 is 12.34 in CNY, 1234 in JPY and 1.234 in KWD."""
    return Decimal(minor).scaleb(-minor_digits(currency))


def money_text(minor: float, currency: str, *, exact: bool = True) -> str:
    """Minor units as people read them, without the currency's name; all its decimals, or none where not ``exact``."""
    return f"{major(minor, currency):,.{minor_digits(currency) if exact else 0}f}"


def minor_units(money: Decimal | str, currency: str) -> int:
    """Major units, a number or its plain text, in whole minor units; a half goes to the even one.

    ArithmeticError or ValueError where it is no finite number.
    """
    return int(Decimal(money).scaleb(minor_digits(currency)).to_integral_value())
