"""Settings: one frozen class, read once from the environment (``PROSA_…``) and checked at start.

A new field has a default under which yesterday's deployment still works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.addresses import AllowedHosts
from chassis.system import SERVICES


class SettingRefused(ValueError):
    """A setting that is well written and cannot be used here and now; the message names its variable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def address_taken(variable: str, address: str) -> SettingRefused:
    """Says which setting chose an address that nobody can listen on."""
    return SettingRefused(
        "ADDRESS_TAKEN",
        f"{variable} is {address}, where nobody can listen: another program does already, or this machine has no such "
        "address. Stop that program, or set it to another one.",
    )


OWN_TIMEOUTS = ("timeout", "connect_timeout", "tcp_user_timeout")
"""What a database's URL may not set: Prosa does, so that a webhook is answered in time. ``timeout`` nobody knows."""

LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """What any process of Prosa needs to know; what one module alone needs is a class of ``ModuleSettings``."""

    # What else a process is made with by hand, as tests do, is for its modules.
    model_config = SettingsConfigDict(env_prefix="PROSA_", frozen=True, extra="allow", env_ignore_empty=True)

    identity_database_url: SecretStr | None = None
    ingest_database_url: SecretStr | None = None
    conversation_database_url: SecretStr | None = None
    outreach_database_url: SecretStr | None = None
    crm_database_url: SecretStr | None = None
    """``postgresql://…`` of one service, with the service's own role; needed where that service's target runs."""

    nats_url: SecretStr = SecretStr("nats://127.0.0.1:4222")
    """NATS 2.11 or newer with JetStream; an account of its own for each installation."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Redis 6.2 or newer, or Valkey; one of its own, which evicts nothing. Outreach uses it."""
    keys_dir: Path = Field(default=Path("keys"), validate_default=True)
    """Holds ``<issuer>.key`` of the targets that run here, ``<issuer>.pub`` of all, and ``encryption.json``."""

    grpc_address: str = "127.0.0.1:50051"
    """Where this process serves gRPC."""
    identity_address: str = ""
    ingest_address: str = ""
    ingest_accept_address: str = ""
    conversation_address: str = ""
    outreach_address: str = ""
    crm_address: str = ""
    """Where each service is dialled; this process's own address when empty."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The inner listener: /metrics, /readyz, /healthz. 0 draws a free port."""

    log_level: LogLevel = "info"
    """debug, info, warning or error."""
    log_text: bool = False
    """Lets message texts into the logs; off by default, they are people's own words."""
    prepared_statements: bool = False
    """True where no pooler in transaction mode stands between here and PostgreSQL."""
    drain_seconds: float = Field(default=10.0, gt=0)
    """How long running calls may take once the process was told to stop."""
    allowed_hosts: str = ""
    """What outgoing calls may reach though its address is private: ``host:port`` or ``host``, comma separated."""
    public_url: str = ""
    """Where others reach Prosa, such as ``https://prosa.example.com``; `prosa up` and commands else name its own
    address. Webhook addresses are made with it: those that are printed, and those that Evolution is told."""
    otlp_endpoint: str = ""
    """Where traces are sent by OTLP over gRPC; none are when empty."""

    @field_validator("keys_dir")
    @classmethod
    def _check_keys_dir(cls, directory: Path) -> Path:
        # Of the field, not of the whole: what is wrong with others is told in the same breath.
        if not directory.is_dir():
            raise ValueError(
                f"{directory} is no directory. Set it to the one that holds the key files; `prosa keys create` fills "
                "it."
            )
        return directory

    @field_validator(*(f"{service}_database_url" for service in SERVICES))
    @classmethod
    def _check_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        query = "" if url is None else urlsplit(url.get_secret_value()).query
        for name in OWN_TIMEOUTS:
            if name in parse_qs(query, keep_blank_values=True):
                raise ValueError(f"It sets {name}, which Prosa does not take from outside. Remove that from the URL.")
        return url

    @field_validator("allowed_hosts")
    @classmethod
    def _check_allowed_hosts(cls, text: str) -> str:
        AllowedHosts(text)
        return text

    def database_url(self, service: str) -> str:
        """The URL of a service's own role. Raises ValueError naming the variable that is missing."""
        url: SecretStr | None = getattr(self, f"{service}_database_url")
        if url is None:
            raise ValueError(f"PROSA_{service.upper()}_DATABASE_URL is not set; the target {service} needs it.")
        return url.get_secret_value()

    def address(self, service: str) -> str:
        """Where to dial a service: ``ingest_accept`` falls back to ``ingest``, and all to this process itself."""
        named: str = getattr(self, f"{service}_address")
        if not named and service == "ingest_accept":
            named = self.ingest_address
        return named or self.grpc_address


assert all(f"{service}_database_url" in Settings.model_fields for service in SERVICES)


class ModuleSettings(BaseSettings):
    """What one module needs to know besides. `services/targets.py` names the class, so that it is checked at start."""

    model_config = SettingsConfigDict(env_prefix="PROSA_", frozen=True, extra="ignore", env_ignore_empty=True)

    @classmethod
    def within(cls, settings: Settings) -> Self:
        """The module's settings in a process: of its environment, and what the process was made with by hand."""
        given = settings.model_extra or {}
        return cls(**{name: value for name, value in given.items() if name in cls.model_fields})
