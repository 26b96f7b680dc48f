"""The chassis' own line of migrations: the tables that every service's schema has, before the service's own.

A file is one version, for all schemas. Which one is being migrated, `run` tells what it is given.
"""

from __future__ import annotations

from collections.abc import Callable

from alembic import context, op


def run(statements: Callable[[str], str]) -> None:
    """Runs what is made for the schema that is being migrated, as it stands: a % in it is a %."""
    service: str = context.config.attributes["service"]
    op.get_bind().exec_driver_sql(statements(service), execution_options={"no_parameters": True})
