"""The one Alembic environment: ``chassis.migrate`` hands in an open connection, the service's name and the line."""

from __future__ import annotations

from contextlib import nullcontext

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    version_table_schema=context.config.attributes["service"],
    transaction_per_migration=True,
)

if context.config.attributes.get("in_one_transaction"):
    # Whoever opened the transaction takes it back: what wants none of its own stays in it.
    context.get_context().autocommit_block = nullcontext  # type: ignore[assignment,method-assign]

with context.begin_transaction():
    context.run_migrations()
