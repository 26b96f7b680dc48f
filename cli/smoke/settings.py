"""What the smoke needs to know: SMOKE_* variables, from the environment or from `.env.smoke.local`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from chassis.canonical import DEFAULT_REGION, Source, identify, lacks_country
from chassis.errors import InvalidArgument
from cli.failures import REFUSED, Refused

FILE = ".env.smoke.local"
TIMEOUT_MS_DEFAULT = 15_000
PHONE = "SMOKE_WHATSAPP_PHONE"
REQUIRED = (
    "SMOKE_BASE_URL",
    "SMOKE_CHATWOOT_ACCOUNT_ID",
    "SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID",
    "SMOKE_CHATWOOT_INBOX_WHATSAPP_ID",
    "SMOKE_INSTAGRAM_IGSID",
    PHONE,
)
SECRET = "SMOKE_CHATWOOT_WEBHOOK_SECRET"  # noqa: S105 the name of a variable
ORGANIZATION = "SMOKE_ORGANIZATION_ID"
TIMEOUT = "SMOKE_TIMEOUT_MS"
API_KEY = "SMOKE_API_KEY"
METRICS = "SMOKE_METRICS_URL"
EXAMPLE_IGSID = "7733100045600121"
EXAMPLE_PHONE = "+5511900004821"


@dataclass(frozen=True, slots=True)
class SmokeSettings:
    """One installation, one organization's inboxes, and the two people who write."""

    base_url: str
    account_id: int
    instagram_inbox_id: int
    whatsapp_inbox_id: int
    igsid: str
    phone: str
    """As written where it lacks its country, which is then that of the organization; else in E.164."""
    webhook_secret: str
    organization_id: str
    timeout_seconds: float

    @property
    def wrong_secret(self) -> str:
        """A secret that is not the connection's."""
        return f"wrong-{secrets.token_hex(12)}"


def variables(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment, completed by the file where it says nothing."""
    file = directory / FILE
    kept = {name: value for name, value in dotenv_values(file).items() if value} if file.is_file() else {}
    return kept | {name: value for name, value in environment.items() if value}


def read(values: Mapping[str, str]) -> SmokeSettings:
    """The settings. Raises Refused naming every variable that is missing, or the one that makes no sense."""
    missing = [name for name in REQUIRED if not values.get(name)]
    if missing:
        raise Refused(
            f"Missing required env vars: {', '.join(missing)}. Set them, or write them into {FILE}; "
            "`prosa smoke variables` shows an example.",
            reason="VARIABLE_MISSING",
            exit_code=REFUSED,
        )
    return SmokeSettings(
        base_url=values["SMOKE_BASE_URL"].rstrip("/"),
        account_id=_number(values, "SMOKE_CHATWOOT_ACCOUNT_ID"),
        instagram_inbox_id=_number(values, "SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID"),
        whatsapp_inbox_id=_number(values, "SMOKE_CHATWOOT_INBOX_WHATSAPP_ID"),
        igsid=_identity(values, "SMOKE_INSTAGRAM_IGSID", Source.INSTAGRAM),
        phone=_phone(values),
        webhook_secret=values.get(SECRET, ""),
        organization_id=values.get(ORGANIZATION, ""),
        timeout_seconds=_number(values, TIMEOUT, TIMEOUT_MS_DEFAULT) / 1000,
    )


def example(bootstrap: Mapping[str, Any]) -> dict[str, str]:
    """The variables for the installation that runs on this machine; with invented people."""
    chatwoot = bootstrap.get("chatwoot") or {}
    inboxes = chatwoot.get("inboxes") or {}
    found = {
        "SMOKE_BASE_URL": bootstrap.get("url") or "http://127.0.0.1:8080",
        "SMOKE_CHATWOOT_ACCOUNT_ID": chatwoot.get("account_id") or "",
        "SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID": inboxes.get("instagram") or "",
        "SMOKE_CHATWOOT_INBOX_WHATSAPP_ID": inboxes.get("whatsapp") or "",
        "SMOKE_INSTAGRAM_IGSID": EXAMPLE_IGSID,
        PHONE: EXAMPLE_PHONE,
        SECRET: chatwoot.get("webhook_secret") or "",
    }
    return {name: str(value) for name, value in found.items()}


def _number(values: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = values.get(name, "")
    if not text and default is not None:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise Refused(f"{name} is {text!r}, which is no positive number.", reason="VARIABLE_INVALID", exit_code=REFUSED)
    return int(text)


def phone_in(region: str, phone: str) -> str:
    """The number in E.164, of a region where it lacks its country. Raises Refused where it is none there."""
    return _identity({PHONE: phone}, PHONE, Source.WHATSAPP, region)


def _phone(values: Mapping[str, str]) -> str:
    phone = values[PHONE]
    return phone if lacks_country(phone) else _identity(values, PHONE, Source.WHATSAPP)


def _identity(values: Mapping[str, str], name: str, source: Source, region: str = DEFAULT_REGION) -> str:
    try:
        return identify(source.value, values[name], region).external_id
    except InvalidArgument as error:
        raise Refused(f"{name}: {error.message}", reason="VARIABLE_INVALID", exit_code=REFUSED) from None
