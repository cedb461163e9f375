"""A social shop with known truth: raw files as a shop delivers them, and tables of what is really so."""

from __future__ import annotations

from simulator.shop import Shop, delivery_days, simulate, write_deliveries, write_delivery, write_truth

__all__ = ["Shop", "delivery_days", "simulate", "write_deliveries", "write_delivery", "write_truth"]
