"""Writes docs/settings.md from the settings classes: no setting stands in code alone. `--check` only compares."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from chassis.config import Settings
from chassis.migrations import READER_ROLE, role
from chassis.system import ISSUERS, SERVICES, TARGETS
from services.targets import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"

# Of the command line: read where they are used, so no class has them. A test looks that none is missing here.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    (
        "PROSA_HOME",
        "`~/.local/share/prosa`",
        "Where `prosa up` keeps data, keys and logs, and where commands look for it.",
    ),
    ("PROSA_HTTP_PORT", "`8080`", "`prosa up`: its public port, as `--http-port`."),
    (
        "PROSA_RECEIVERS",
        "by the number of cores",
        "`prosa up`: processes that receive, as `--receivers`.",
    ),
    (
        "PROSA_PUBLIC_URL",
        "the address of `prosa up`",
        "Where others reach Prosa, such as `https://prosa.example.com`: webhook addresses are printed with it.",
    ),
    (
        "PROSA_DATABASE_URL",
        "`prosa up` brings its own",
        "PostgreSQL 16 or newer, whose role may create roles and schemas; for `prosa migrate` and `prosa up` alone.",
    ),
    (
        "PROSA_READER_DATABASE_URL",
        "that of `prosa up`",
        f"With the role `{READER_ROLE}`, which may read every schema: `prosa sql`, `prosa smoke`.",
    ),
    (
        "PROSA_METRICS_URL",
        "that of `prosa up`",
        "A `/metrics` of a process that runs ingest: `prosa status` counts with it.",
    ),
    ("PROSA_WEBHOOK_SECRET", "none", "`prosa connection create` and `add-secret`: the webhook's secret."),
    ("PROSA_CHATWOOT_ACCESS_TOKEN", "none", "`prosa connection create` and `update`: the token for calls to Chatwoot."),
    ("PROSA_EVOLUTION_KEY", "none", "`prosa connection update` of a number behind Evolution: Evolution's global key."),
)

ONE_MACHINE = """\
# /etc/prosa.env of the unit in deploy/: `prosa up` brings PostgreSQL and NATS itself.
PROSA_PUBLIC_URL=https://prosa.example.com
PROSA_TRUSTED_PROXIES=127.0.0.1
PROSA_LOG_LEVEL=info
"""

OWN_SERVERS = """\
# Of every process and of `prosa migrate`. Keys: `prosa keys create`, once; then `prosa keys export` for each.
PROSA_KEYS_DIR=/etc/prosa/keys
PROSA_NATS_URL=nats://prosa:…@nats.internal:4222
{databases}
# Where each finds the others.
{addresses}
PROSA_INGEST_ACCEPT_ADDRESS=10.0.0.11:50051

# Only for `prosa migrate`, before each new version.
PROSA_DATABASE_URL=postgresql://postgres:…@db.internal:5432/prosa

# The first machine, 10.0.0.11: prosa serve --target gateway,ingest-accept
PROSA_GRPC_ADDRESS=10.0.0.11:50051
PROSA_HTTP_HOST=10.0.0.11
PROSA_HTTP_PORT=8080
PROSA_TRUSTED_PROXIES=10.0.0.5
PROSA_METRICS_HOST=10.0.0.11
PROSA_METRICS_PORT=9464

# The second machine, 10.0.0.12: prosa serve --target identity,crm,outreach,conversation,ingest
PROSA_GRPC_ADDRESS=10.0.0.12:50051
PROSA_METRICS_HOST=10.0.0.12
PROSA_METRICS_PORT=9464
"""


def classes() -> Iterator[type[BaseSettings]]:
    """The settings of every process, then those of modules."""
    yield Settings
    yield from SETTINGS.values()


def descriptions(owner: type[BaseSettings]) -> dict[str, str]:
    """What stands below each field of the class; fields that follow one another share what stands below the last."""
    tree = ast.parse(Path(inspect.getfile(owner)).read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner.__name__)
    said: dict[str, str] = {}
    waiting: list[str] = []
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            waiting.append(node.target.id)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            said.update(dict.fromkeys(waiting, " ".join(node.value.value.replace("``", "`").split())))
            waiting = []
    return said


def default_of(owner: type[BaseSettings], name: str) -> str:
    """A field's default as the page says it."""
    default = owner.model_fields[name].default
    if default is PydanticUndefined or default is None or default == "":
        return "none"
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def table_of(owner: type[BaseSettings]) -> str:
    """One line for each field of a class."""
    said = descriptions(owner)
    return "\n".join(
        f"| `PROSA_{name.upper()}` | {default_of(owner, name)} | {said[name]} |" for name in owner.model_fields
    )


def own_servers() -> str:
    """The second example, with every service in it."""
    databases = "\n".join(
        f"PROSA_{service.upper()}_DATABASE_URL=postgresql://{role(service)}:…@db.internal:5432/prosa"
        for service in SERVICES
    )
    addresses = "\n".join(f"PROSA_{service.upper()}_ADDRESS=10.0.0.12:50051" for service in SERVICES)
    return OWN_SERVERS.format(databases=databases, addresses=addresses)


def page() -> str:
    """The whole page."""
    serving = "\n".join(table_of(owner) for owner in classes())
    commands = "\n".join(f"| `{name}` | {default} | {what} |" for name, default, what in COMMANDS)
    roles = "\n".join(
        f"| `{service}` | `PROSA_{service.upper()}_DATABASE_URL` | `{role(service)}` |" for service in SERVICES
    )
    targets = "\n".join(f"{target.name:<24}{target.does}" for target in TARGETS)
    return f"""\
# Settings

Made by `make generate` from the code (tools/settings.py): every variable there is. All are read once, at the start; an
empty one counts as not set. What is missing or wrong is told all at once, each by its name.

## Of `prosa serve`

`prosa up` sets what its processes need to find each other and its own servers, and hands on the rest.

| variable | without it | what it is |
| --- | --- | --- |
{serving}

## Of commands

| variable | without it | what it is |
| --- | --- | --- |
{commands}

Variables `SMOKE_…`: [smoke.md](smoke.md).

## Targets

`prosa serve --target all` runs all of them in one process; a comma separated list runs some.

```
{targets}
```

## Roles and keys

`prosa migrate` makes each role, with the password that stands in the service's own URL. Every target but the gateway
needs its service's URL (`ingest-accept` that of ingest); every target needs its service's key file in `PROSA_KEYS_DIR`,
and identity and ingest `encryption.json` too. `prosa keys create` draws them all, one key each for
{", ".join(ISSUERS)}. `prosa keys export --target crm DIRECTORY` copies what one target
needs and no more: a process that cannot read the others' keys cannot speak for them.

| service | variable | role |
| --- | --- | --- |
{roles}
| reading | `PROSA_READER_DATABASE_URL` | `{READER_ROLE}` |

## One machine, whole

```
{ONE_MACHINE}```

## Servers of your own, whole

```
{own_servers()}```

With one machine and servers of your own, leave out all `_ADDRESS` and run `prosa serve --target all`.
"""


def main() -> int:
    """Writes the page, or says that it is behind."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{PAGE.relative_to(ROOT)} is behind the settings: run `make generate`.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
