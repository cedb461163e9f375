"""What every feed and table holds: one dictionary of fields, one contract a table, and all that is derived from them."""
