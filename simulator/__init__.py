"""A social shop with known truth: raw files as a shop delivers them, and tables of what is really so."""

from __future__ import annotations

from simulator.shop import Shop, arrival_days, simulate, write_arrival, write_arrivals, write_truth

__all__ = ["Shop", "arrival_days", "simulate", "write_arrival", "write_arrivals", "write_truth"]
