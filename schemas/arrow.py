"""Contracts as Arrow schemas and as Spark DDL."""

from __future__ import annotations

import pyarrow as pa

from schemas.contracts import Contract, FieldEntry, Type

ARROW: dict[Type, pa.DataType] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
SPARK: dict[Type, str] = {
    "string": "string",
    "int32": "int",
    "int64": "bigint",
    "float64": "double",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


def arrow_field(entry: FieldEntry) -> pa.Field:
    """Every column is nullable in the table; what is required is a check, so that old rows never block a change."""
    return pa.field(entry.name, ARROW[entry.type])


def arrow_schema(c: Contract) -> pa.Schema:
    """All columns of the table, partitions included, in contract order."""
    return pa.schema([arrow_field(col.field) for col in c.columns])


def file_schema(schema: pa.Schema, partitions: tuple[str, ...]) -> pa.Schema:
    """What a data file of the table holds: partition columns live in its path and in the Delta log only."""
    return pa.schema([f for f in schema if f.name not in partitions])
