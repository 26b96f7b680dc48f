"""Where an installation is: the home of `prosa up` on this machine, or what PROSA_* names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chassis.json_reading import read_json
from cli.failures import REFUSED, Refused

HOME_DEFAULT = "~/.local/share/prosa"
HTTP_PORT_DEFAULT = 8080
BOOTSTRAP = "bootstrap.json"
DEMO = "demo.json"
PUBLIC_VARIABLE = "PROSA_PUBLIC_URL"
READER_VARIABLE = "PROSA_READER_DATABASE_URL"


def home_directory(environment: Mapping[str, str] | None = None) -> Path:
    """The home of `prosa up`: PROSA_HOME, else the usual place."""
    values = os.environ if environment is None else environment
    return Path(values.get("PROSA_HOME") or HOME_DEFAULT).expanduser().absolute()


def read_bootstrap(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a running `prosa up` on the home says of itself; empty when none runs."""
    file = home_directory(environment) / BOOTSTRAP
    try:
        content = read_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise Refused(
            f"{file} is damaged. Start `prosa up` again, which writes it anew.", reason="BOOTSTRAP_DAMAGED"
        ) from error
    except PermissionError as error:
        raise Refused(f"{error.filename} belongs to another user. Run this as that user.", exit_code=REFUSED) from error
    return content if isinstance(content, dict) else {}


def demo_organizations(environment: Mapping[str, str] | None = None) -> frozenset[str]:
    """What `prosa up --demo` made in this home; where there is another organization, no command means it unnamed."""
    try:
        content = read_json((home_directory(environment) / DEMO).read_bytes())
    except (OSError, ValueError):
        # Without the home's memory of it, the demo's is an organization like any other.
        return frozenset()
    known = content.get("organization_id") if isinstance(content, dict) else None
    return frozenset({known} if isinstance(known, str) and known else ())


def public_url(environment: Mapping[str, str] | None = None) -> str:
    """Where others reach it: PROSA_PUBLIC_URL, here or of the running `prosa up`, else its own address."""
    values = os.environ if environment is None else environment
    named = values.get(PUBLIC_VARIABLE, "")
    if not named:
        bootstrap = read_bootstrap(values)
        return str(bootstrap.get("public_url") or bootstrap.get("url") or "")
    return checked_public_url(named)


def checked_public_url(text: str) -> str:
    """An address that may stand before a path. Raises Refused for what cannot."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise Refused(
            f"{PUBLIC_VARIABLE} is no address of a website. Write it as Chatwoot shall call it, such as "
            "https://prosa.example.com.",
            reason="PUBLIC_URL_INVALID",
            exit_code=REFUSED,
        )
    return text.rstrip("/")


def on_this_machine(url: str) -> bool:
    """Says whether nobody but this machine reaches the address."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def keys_directory(environment: Mapping[str, str]) -> Path:
    """Where the key files lie: PROSA_KEYS_DIR, else those of the home."""
    named = environment.get("PROSA_KEYS_DIR")
    return Path(named).expanduser() if named else home_directory(environment) / "keys"


def operator_database_url(environment: Mapping[str, str]) -> str:
    """A URL that may create schemas and roles: PROSA_DATABASE_URL, else the one of a running `prosa up`."""
    if url := environment.get("PROSA_DATABASE_URL"):
        if not urlsplit(url).scheme.startswith("postgres"):
            # Without the text itself: what is no URL may still hold a password.
            raise Refused(
                "PROSA_DATABASE_URL is no database URL. Write postgresql://user:password@host:5432/database.",
                reason="DATABASE_URL_INVALID",
                exit_code=REFUSED,
            )
        return url
    bootstrap = read_bootstrap(environment)
    try:
        secrets = read_json((home_directory(environment) / "secrets.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        secrets = {}
    if bootstrap.get("database_url") and secrets.get("postgres"):
        from embedded.postgres import ADMIN
        from embedded.shapes import with_role

        return with_role(bootstrap["database_url"], ADMIN, secrets["postgres"])
    raise Refused(
        "PROSA_DATABASE_URL is not set. Set it to a database URL that may create schemas and roles, or start "
        "`prosa up`, which brings its own database.",
        reason="DATABASE_URL_MISSING",
        exit_code=REFUSED,
    )


def reader_database_url(environment: Mapping[str, str]) -> str:
    """A URL that may read every schema: PROSA_READER_DATABASE_URL, else the one of a running `prosa up`."""
    url = environment.get(READER_VARIABLE) or read_bootstrap(environment).get("database_url")
    if not url:
        raise no_reader(environment)
    return str(url)


def no_reader(environment: Mapping[str, str]) -> Refused:
    """Says that nothing runs to be read, and what to do about it here and for an installation elsewhere."""
    return Refused(
        f"Nothing runs in {home_directory(environment)}. Start it with `prosa up`; for an installation elsewhere set "
        f"{READER_VARIABLE} to a URL that may read every schema.",
        reason="NOT_RUNNING",
    )
