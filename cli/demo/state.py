"""What `up --demo` drew for its home, kept in `demo.json`: the services seal secrets and never tell them again."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from chassis.json_reading import read_json
from cli.home import DEMO
from embedded.ports import write_private

FILE = DEMO
SECRET_BYTES = 24
PASSWORD_BYTES = 9
ADMIN_EMAIL = "admin@escola-ipe.example"


@dataclass(frozen=True, slots=True)
class DemoState:
    """Secrets and ids of the demo; empty where they are not known yet."""

    admin_email: str = ""
    admin_password: str = ""
    webhook_secret: str = ""
    access_token: str = ""
    organization_id: str = ""
    connection_id: str = ""
    webhook_path: str = ""
    api_key_id: str = ""
    api_key: str = ""
    evolution_key: str = ""
    number_request_id: str = ""
    colleague_password: str = ""
    run_count: int = 0
    """How often the fake was begun: each run has ids of its own."""


def load(home: Path) -> DemoState:
    """What the home remembers; nothing at first."""
    try:
        content = read_json((home / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return DemoState()
    known = {name: content[name] for name in DemoState.__dataclass_fields__ if name in content}
    return DemoState(**known)


def save(home: Path, state: DemoState) -> DemoState:
    """Remembers the state, readable by its owner alone; answers it."""
    write_private(home / FILE, asdict(state))
    return state


def drawn(state: DemoState) -> DemoState:
    """The state with every secret drawn that was missing."""
    return replace(
        state,
        admin_email=state.admin_email or ADMIN_EMAIL,
        admin_password=state.admin_password or secrets.token_urlsafe(PASSWORD_BYTES),
        webhook_secret=state.webhook_secret or secrets.token_urlsafe(SECRET_BYTES),
        access_token=state.access_token or secrets.token_urlsafe(SECRET_BYTES),
        evolution_key=state.evolution_key or secrets.token_urlsafe(SECRET_BYTES),
        number_request_id=state.number_request_id or str(uuid4()),
        colleague_password=state.colleague_password or secrets.token_urlsafe(PASSWORD_BYTES),
    )
