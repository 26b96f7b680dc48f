"""The one Alembic environment: ``chassis.migrate`` hands in an open connection and the service's name."""

from __future__ import annotations

from alembic import context

service = context.config.attributes["service"]

context.configure(
    connection=context.config.attributes["connection"],
    version_table="alembic_version",
    version_table_schema=service,
    transaction_per_migration=True,
)

with context.begin_transaction():
    context.run_migrations()
