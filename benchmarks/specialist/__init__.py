"""A first build as a specialist would write it by hand in DuckDB, for one shop whose files are known: the measure of ours.

No configuration, no history, no check of what nobody sends: raw files to tables of one database file, by SQL alone.
Times are kept as the shop's local times, which spares every conversion, for the shop's zone has had one offset since 1991.
"""
