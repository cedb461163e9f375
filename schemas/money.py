"""Money between its two forms: whole minor units inside, decimals of the lake's currency where people read and write it."""

from __future__ import annotations

from decimal import Decimal

DEFAULT_CURRENCY = "CNY"
MINOR_DIGITS: dict[str, int] = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
"""Decimals of a currency where they are not two (ISO 4217)."""
ZH_UNITS = {
    "CNY": "元",
    "HKD": "港元",
    "TWD": "新台币",
    "USD": "美元",
    "JPY": "日元",
    "KRW": "韩元",
    "EUR": "欧元",
    "GBP": "英镑",
}
"""What Chinese texts write behind an amount; the code of other currencies."""


def minor_digits(currency: str) -> int:
    """Decimals of a currency: how many minor units, as a power of ten, make one major unit."""
    return MINOR_DIGITS.get(currency, 2)


def major(minor: float, currency: str) -> Decimal:
    """Minor units, whole or a mean of them, in major units: 1234 is 12.34 in CNY, 1234 in JPY and 1.234 in KWD."""
    return Decimal(minor).scaleb(-minor_digits(currency))


def main_units(minor: float, currency: str) -> Decimal:
    """``major`` with exactly the decimals of the currency; a mean is rounded to its smallest coin."""
    return major(minor, currency).quantize(Decimal(1).scaleb(-minor_digits(currency)))


def money_text(minor: float, currency: str, *, exact: bool = True) -> str:
    """Minor units as people read them, without the currency's name; all its decimals, or none where not ``exact``."""
    return f"{major(minor, currency):,.{minor_digits(currency) if exact else 0}f}"


def money_cell(minor: float, currency: str) -> str:
    """An amount as it stands alone in a table: all its decimals, and the currency behind it."""
    return f"{money_text(minor, currency)} {currency}"


def money_words(minor: float, currency: str) -> tuple[str, str]:
    """An amount with its currency inside a sentence, Chinese and English; decimals only where there are some."""
    number = money_text(minor, currency, exact=major(minor, currency) % 1 != 0)
    return f"{number} {ZH_UNITS.get(currency, currency)}", f"{number} {currency}"


def minor_units(money: Decimal | str, currency: str) -> int:
    """Major units, a number or its plain text, in whole minor units; a half goes to the even one.

    ArithmeticError or ValueError where it is no finite number.
    """
    return int(Decimal(money).scaleb(minor_digits(currency)).to_integral_value())
