"""How Alembic runs the steps: on the connection and in the transaction of ``State.migrate``."""

from __future__ import annotations

from alembic import context

from portal.state.tables import StateTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=StateTable.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
