"""Lets the service ask for the installation's id without entering any schema but its own."""

from __future__ import annotations

from chassis.migrations import CHASSIS_SCHEMA, own_function, owner
from chassis.tables import run

revision = "chassis_0003"
down_revision = "chassis_0002"
branch_labels = None
depends_on = None


def know(service: str) -> str:
    """The function, so that a service never takes another installation's stream for its own."""
    return f"""
    grant usage on schema {CHASSIS_SCHEMA} to {owner(service)};
    grant select on {CHASSIS_SCHEMA}.installation to {owner(service)};
    create function {service}.installation_id() returns uuid
      language sql stable security definer set search_path = pg_catalog as
      $$ select installation_id from {CHASSIS_SCHEMA}.installation $$;
    {own_function(service, "installation_id()")}
    """


def forget(service: str) -> str:
    """Takes it back; the id itself stays."""
    return f"""
    drop function {service}.installation_id();
    revoke select on {CHASSIS_SCHEMA}.installation from {owner(service)};
    revoke usage on schema {CHASSIS_SCHEMA} from {owner(service)};
    """


def upgrade() -> None:
    """Adds the function."""
    run(know)


def downgrade() -> None:
    """Takes it away."""
    run(forget)
