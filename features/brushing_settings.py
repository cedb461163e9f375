"""Settings of brushing (刷单), ``methods/brushing.yaml``: its signals, what each asks for, and what it weighs."""

from __future__ import annotations

from pydantic import Field

from schemas.configuration import Settings

WEEK = 7


class Signal(Settings):
    """``weight`` is what the signal adds to the score; 0 switches it off."""

    weight: float = Field(ge=0, le=1)


class SharedKey(Signal):
    """At least ``buyers`` different persons paid with the same key within ``days`` business days, the paid day the last."""

    buyers: int = Field(ge=2)
    days: int = Field(default=1, ge=1, le=31)


class SharedDevice(SharedKey):
    weight: float = Field(default=0.35, ge=0, le=1)
    buyers: int = Field(default=3, ge=2)


class SharedAddress(SharedKey):
    weight: float = Field(default=0.35, ge=0, le=1)
    buyers: int = Field(default=4, ge=2)


class SharedIp(SharedKey):
    weight: float = Field(default=0.15, ge=0, le=1)
    buyers: int = Field(default=5, ge=2)


class OneSeller(Signal):
    """At least ``orders`` orders within the history, all from one seller that has not most of the shop's orders."""

    weight: float = Field(default=0.1, ge=0, le=1)
    orders: int = Field(default=3, ge=2)
    largest_share: float = Field(default=0.5, gt=0, le=1)


class NoBrowse(Signal):
    """No visit of the person in the ``days`` up to the payment, while others of the same channel do leave visits.

    It holds only where at least ``coverage`` of the channel's orders of the history have a visit before them, and on
    days with at least ``volume`` of the usual number of visits (a day whose file is missing accuses nobody).
    """

    weight: float = Field(default=0.3, ge=0, le=1)
    days: int = Field(default=7, ge=1, le=31)
    coverage: float = Field(default=0.5, gt=0, le=1)
    volume: float = Field(default=0.2, gt=0, le=1)


class QuickPay(Signal):
    """Paid within ``seconds`` of being placed. Equal stamps are no evidence: the source has one time for both."""

    weight: float = Field(default=0.25, ge=0, le=1)
    seconds: int = Field(default=10, ge=1)


class PriceOutlier(Signal):
    """``money_share`` of the order's money at unit prices ``deviations`` robust standard deviations from the usual ones.

    Usual, of the sku or else of its category, is the median of the whole weeks of the history before the paid day's week, with at least ``lines`` lines;
    the deviation is 1.4826 x MAD, at least ``least_spread`` of the median.
    """

    weight: float = Field(default=0.15, ge=0, le=1)
    deviations: float = Field(default=6, gt=0)
    lines: int = Field(default=10, ge=3)
    least_spread: float = Field(default=0.1, gt=0, le=1)
    money_share: float = Field(default=0.5, gt=0, le=1)


class Reciprocal(Signal):
    """Buyer and seller depend on each other: at least ``orders`` orders of the pair, ``of_seller`` of the seller's and
    ``of_buyer`` of the buyer's orders in the history; or each of the two bought from the other within it.
    """

    weight: float = Field(default=0.3, ge=0, le=1)
    orders: int = Field(default=5, ge=2)
    of_seller: float = Field(default=0.5, gt=0, le=1)
    of_buyer: float = Field(default=0.8, gt=0, le=1)


class BrushingSettings(Settings):
    """``methods/brushing.yaml``. An order is held from ``threshold`` on; the score is the sum of weights, at most 1.

    ``history_days`` is the trailing window of signals over several days. Orders paid more than ``payment_days`` after
    they were placed are not judged.
    """

    threshold: float = Field(default=0.6, gt=0, le=1)
    history_days: int = Field(default=28, ge=WEEK, le=92)
    payment_days: int = Field(default=7, ge=1, le=31)
    shared_device: SharedDevice = SharedDevice()
    shared_address: SharedAddress = SharedAddress()
    shared_ip: SharedIp = SharedIp()
    one_seller: OneSeller = OneSeller()
    no_browse: NoBrowse = NoBrowse()
    quick_pay: QuickPay = QuickPay()
    price_outlier: PriceOutlier = PriceOutlier()
    reciprocal: Reciprocal = Reciprocal()

    def weights(self) -> dict[str, float]:
        """Signals that are on, in the order in which reasons are written."""
        found = {name: getattr(self, name).weight for name in SIGNALS}
        return {name: weight for name, weight in found.items() if weight > 0}


SIGNALS: tuple[str, ...] = (
    "shared_device", "shared_address", "shared_ip", "one_seller", "no_browse", "quick_pay", "price_outlier", "reciprocal",
)  # fmt: skip
